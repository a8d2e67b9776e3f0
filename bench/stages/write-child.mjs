// One checkpoint of one-dimensional tensors through the real writer, out of page-aligned memory.
//
//   node write-child.mjs '{"directory","noiseFile","entries","blockBytes"}'
import { crc32 } from "@node-rs/crc32";
import { openSync, readSync, statSync } from "node:fs";
import { allocatePages } from "../../dist/src/core/page-memory.js";
import { createEntryWriter } from "../../dist/src/dcp/entry-writer.js";
import { torchSaveFormat } from "../../dist/src/dcp/torch-save.js";
import { commitJob } from "../../dist/src/job/commit.js";
import { holdShare } from "../../test/support/hold-share.mjs";

const PAGE_BYTES = 4096;
/** Blocks that are being written at once. */
const CONCURRENT_WRITES = 4;

const { directory, noiseFile, entries: count, blockBytes } = JSON.parse(process.argv[2]);
const dataBytes = statSync(noiseFile).size;
const data = allocatePages(dataBytes);
readSync(openSync(noiseFile, "r"), data);
const crc = crc32(data);

const size = [dataBytes];
const { prefixBytes, suffixBytes } = torchSaveFormat.geometry("uint8", size);
// The data begins on a page of its file, as the plan has it for large entries.
const offset = Math.ceil(prefixBytes / PAGE_BYTES) * PAGE_BYTES - prefixBytes;
const length = prefixBytes + dataBytes + suffixBytes;
const entries = Array.from({ length: count }, (_, i) => ({
	fqn: `tensor${i}`,
	dtype: "uint8",
	box: { offset: [0], size },
	file: `__${i}_0.distcp`,
	offset,
	length,
}));

const before = process.cpuUsage();
const begun = performance.now();
const files = entries.map(({ file }) => ({ name: file, bytes: offset + length }));
const planId = "0".repeat(64);
const { job, turn, held } = await holdShare({ directory, planId, entries, files, overwrite: true });
const writer = createEntryWriter({
	directory: held.directory,
	entries,
	files,
	writeMode: held.writeMode,
	isFinished: () => false,
	record: (finished) => held.record(finished),
});
for (const index of entries.keys()) {
	let next = 0;
	const work = async () => {
		while (next < dataBytes) {
			const start = next;
			next += blockBytes;
			await writer.write(index, start, data.subarray(start, Math.min(next, dataBytes)));
		}
	};
	await Promise.all(Array.from({ length: CONCURRENT_WRITES }, work));
	await writer.finish(index, crc);
}
await writer.flush();
await writer[Symbol.asyncDispose]();
const done = { seconds: 0, fetchedBytes: 0, requests: 0, retries: 0, writtenBytes: 0 };
await held.finish({ ...done, entries: entries.length });
await held[Symbol.asyncDispose]();
await turn.claim.release();
const tensors = entries.map((entry) => ({
	fqn: entry.fqn,
	dtype: "uint8",
	shape: size,
	entries: [entry],
}));
await commitJob(job, { index: () => ({ tensors, objects: [] }), commit: "local" });
const wallSeconds = (performance.now() - begun) / 1000;
const { user, system } = process.cpuUsage(before);
const cpuSeconds = (user + system) / 1e6;
process.stdout.write(
	`${JSON.stringify({ cpuSeconds, wallSeconds, dataOffset: offset + prefixBytes })}\n`,
);
