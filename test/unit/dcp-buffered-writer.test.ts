import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BufferedWriter } from "../../src/dcp/buffered-writer.ts";
import { randomBytes } from "../support/stream-fakes.ts";

const MiB = 2 ** 20;

let directory: string;
let handle: FileHandle;
beforeEach(async () => {
	directory = mkdtempSync(join(tmpdir(), "buffered-writer-"));
	handle = await open(join(directory, "f"), "w");
});
afterEach(async () => {
	await handle.close();
	rmSync(directory, { recursive: true });
});

/** A writer on a clock that moves by `step` at every look, and the calls it made. */
function setUp() {
	const state = { step: 0, time: 0, pooled: 0, waits: false, calls: [] as number[] };
	const writer = new BufferedWriter(
		(bytes) => state.calls.push(bytes),
		() => (state.time += state.step),
	);
	const watched = {
		fd: handle.fd,
		writev: (parts: Uint8Array[], position: number) => {
			state.pooled++;
			return handle.writev(parts, position);
		},
	} as unknown as FileHandle;
	const write = (position: number, ...parts: Uint8Array[]): Promise<void> =>
		writer.write(watched, { position, parts }, state.waits);
	return { state, write };
}

describe("buffered writes", () => {
	test("are made at once, a megabyte at a time, whatever the parts", async () => {
		const { state, write } = setUp();
		const bytes = randomBytes(2.5 * MiB, 1);
		await write(
			3,
			bytes.subarray(0, 100),
			bytes.subarray(100, 1.5 * MiB),
			bytes.subarray(1.5 * MiB),
		);
		expect(state.calls).toEqual([MiB, MiB, MiB / 2]);
		expect(state.pooled).toBe(0);
		const written = readFileSync(join(directory, "f"));
		expect(Buffer.compare(written.subarray(3), bytes)).toBe(0);
	});

	test("go to Node's threads for a second after one that had to wait, then not any more", async () => {
		const { state, write } = setUp();
		const bytes = randomBytes(1000, 1);
		state.step = 11;
		await write(0, bytes);
		expect(state.pooled).toBe(0);
		state.step = 0;
		await write(1000, bytes);
		expect(state.pooled).toBe(1);
		state.time += 999;
		await write(2000, bytes);
		expect(state.pooled).toBe(2);
		state.time += 2;
		await write(3000, bytes);
		expect(state.pooled).toBe(2);
		expect(state.calls).toEqual([1000, 1000, 1000, 1000]);
		const written = readFileSync(join(directory, "f"));
		expect(Buffer.compare(written, Buffer.concat([bytes, bytes, bytes, bytes]))).toBe(0);
	});

	test("go to Node's threads while another write holds the file", async () => {
		const { state, write } = setUp();
		state.waits = true;
		await write(0, randomBytes(1000, 1));
		expect(state.pooled).toBe(1);
		state.waits = false;
		await write(1000, randomBytes(1000, 2));
		expect(state.pooled).toBe(1);
	});

	test("of nothing make no call", async () => {
		const { state, write } = setUp();
		await write(0);
		expect(state.calls).toEqual([]);
	});
});
