// The fetch layer over a Hub: receives ranges into page-aligned memory, with or without their CRC-32.
//
//   node receive-child.mjs '{"repo","connections","buffers","bufferBytes"}'
//
// Answers every line {"mode","ranges":[{"file","start","end"}]} of its stdin with its own CPU and wall seconds and the CRCs.
import { crc32 } from "@node-rs/crc32";
import { createInterface } from "node:readline";
import { readEnvironment } from "../../dist/src/fetch/environment.js";
import { createHubSession } from "../../dist/src/fetch/hub-session.js";

const PAGE_BYTES = 4096;
/** A large block of memory begins behind the allocator's header. */
const ALLOCATION_HEADER_BYTES = 16;

/** Page-aligned pieces of one allocation, as the staging memory of a conversion is. */
function allocateBuffers(count, bytes) {
	const memory = new ArrayBuffer(count * bytes + PAGE_BYTES);
	const first = PAGE_BYTES - ALLOCATION_HEADER_BYTES;
	return Array.from({ length: count }, (_, i) => new Uint8Array(memory, first + i * bytes, bytes));
}

/** Reads every range, as many at a time as there are buffers; returns the CRC-32 of each, 0 when not asked for. */
async function readAll(source, ranges, buffers, wantsCrc) {
	const crcs = ranges.map(() => 0);
	let next = 0;
	const work = async (buffer) => {
		while (next < ranges.length) {
			const index = next++;
			const { start, end } = ranges[index];
			const into = buffer.subarray(0, end - start);
			await source.readInto(ranges[index], into);
			if (wantsCrc) crcs[index] = crc32(into);
		}
	};
	await Promise.all(buffers.map(work));
	return crcs;
}

const setup = JSON.parse(process.argv[2]);
const { repo, connections } = setup;
const session = createHubSession(readEnvironment(process.env), { connections });
const { commit } = await session.pin(repo, "main");
const files = new Map((await session.list(repo, commit)).map((file) => [file.path, file]));
const source = session.byteSource(repo, commit, files);
const buffers = allocateBuffers(setup.buffers, setup.bufferBytes);
for await (const line of createInterface({ input: process.stdin })) {
	const { mode, ranges } = JSON.parse(line);
	const before = process.cpuUsage();
	const begun = performance.now();
	const crc = await readAll(source, ranges, buffers, mode === "crc");
	const wallSeconds = (performance.now() - begun) / 1000;
	const { user, system } = process.cpuUsage(before);
	const cpuSeconds = (user + system) / 1e6;
	process.stdout.write(`${JSON.stringify({ cpuSeconds, wallSeconds, crc })}\n`);
}
await source[Symbol.asyncDispose]();
await session[Symbol.asyncDispose]();
