import { expect, test } from "vitest";
import type { ByteRange } from "../../src/core/ports.ts";
import { joinReads, type ReadCounters } from "../../src/values/joined-reads.ts";
import { memorySource, randomBytes } from "../support/stream-fakes.ts";

const KiB = 1024;
const FILES = new Map([
	["a", randomBytes(900 * KiB, 1)],
	["b", randomBytes(10 * KiB, 2)],
]);

async function read(ranges: readonly ByteRange[]): Promise<{
	readonly counters: ReadCounters;
	readonly reads: readonly ByteRange[];
}> {
	const source = memorySource(FILES);
	const counters = { neededBytes: 0, readBytes: 0, requests: 0 };
	const joined = joinReads(source, counters);
	await Promise.all(
		ranges.map(async (range) => {
			const into = new Uint8Array(range.end - range.start);
			await joined.readInto(range, into);
			const expected = FILES.get(range.file)?.subarray(range.start, range.end);
			expect(Buffer.compare(into, expected ?? new Uint8Array())).toBe(0);
		}),
	);
	return { counters, reads: source.reads };
}

test("a column is read in few requests, whatever the order", async () => {
	const column = Array.from({ length: 100 }, (_, row) => ({
		file: "a",
		start: ((row * 37) % 100) * 8 * KiB,
		end: ((row * 37) % 100) * 8 * KiB + 2,
	}));
	const { counters, reads } = await read(column);
	expect(reads).toEqual([{ file: "a", start: 0, end: 99 * 8 * KiB + 2 }]);
	expect(counters).toEqual({ neededBytes: 200, readBytes: 99 * 8 * KiB + 2, requests: 1 });
});

test("what is far apart, or in another file, is read by itself, and no byte more", async () => {
	const { counters, reads } = await read([
		{ file: "b", start: 5, end: 7 },
		{ file: "a", start: 500 * KiB, end: 500 * KiB + 10 },
		{ file: "a", start: 0, end: 4 },
	]);
	expect(reads).toHaveLength(3);
	expect(counters).toEqual({ neededBytes: 16, readBytes: 16, requests: 3 });
});

test("a failure is heard by all that were read together", async () => {
	const failing = {
		readInto: () => Promise.reject(new Error("broken")),
		async [Symbol.asyncDispose]() {},
	};
	const joined = joinReads(failing, { neededBytes: 0, readBytes: 0, requests: 0 });
	const results = await Promise.allSettled(
		[0, 10].map((start) =>
			joined.readInto({ file: "a", start, end: start + 4 }, new Uint8Array(4)),
		),
	);
	expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});
