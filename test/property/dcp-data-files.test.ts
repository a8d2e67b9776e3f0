import {
	closeSync,
	constants,
	mkdtempSync,
	openSync,
	readdirSync,
	readFileSync,
	readSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { allocatePages } from "../../src/core/page-memory.ts";
import { PAGE_BYTES } from "../../src/core/pages.ts";
import { DataFiles } from "../../src/dcp/data-files.ts";
import { MIN_DIRECT_BYTES, splitAtPages } from "../../src/dcp/page-segments.ts";
import { probeWriteMode, type WriteMode } from "../../src/dcp/write-mode.ts";
import { randomBytes } from "../support/stream-fakes.ts";
import { createLastRun } from "../support/last-run.ts";

const KIB = 1024;
const mode = await probeWriteMode(tmpdir());
const isDirect = mode === "direct";

/** Bytes to write: stretches begin at different places of it. */
const NOISE = randomBytes(700 * KIB, 1);

let directory: string;
beforeEach(() => {
	directory = mkdtempSync(join(tmpdir(), "data-files-"));
});
const lastRun = createLastRun();
afterEach(async () => {
	await lastRun.ended();
	rmSync(directory, { recursive: true });
});

/** A file's bytes read from the disk, whatever the page cache holds. */
function readPastCache(path: string, bytes: number): Uint8Array {
	const memory = allocatePages(Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES);
	const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
	try {
		let done = 0;
		while (done < bytes) {
			const read = readSync(fd, memory, done, memory.length - done, done);
			if (read === 0) break;
			done += read;
		}
		return memory.subarray(0, done);
	} finally {
		closeSync(fd);
	}
}

/** Where a file of `bytes` is cut, and what each stretch is written as. */
const stretches = fc.array(
	fc.record({
		bytes: fc.oneof(
			fc.integer({ min: 1, max: 9000 }),
			fc.integer({ min: 60 * KIB, max: 400 * KIB }),
			fc.integer({ min: 14, max: 90 }).map((pages) => pages * PAGE_BYTES),
		),
		isGap: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
		/** Distance of the memory's address from its place in the file, modulo the page. */
		shift: fc.oneof(fc.constant(0), fc.nat(PAGE_BYTES - 1)),
		/** Where the stretch is cut into parts of one write. */
		cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 2 }),
		order: fc.nat(),
		file: fc.nat(2),
	}),
	{ minLength: 1, maxLength: 24 },
);

interface Write {
	readonly file: number;
	readonly position: number;
	readonly parts: readonly Uint8Array[];
	readonly order: number;
}

type Stretches = typeof stretches extends fc.Arbitrary<infer T> ? T : never;

/** The writes, and what three files hold when all are done. */
function planWrites(chosen: Stretches): { writes: Write[]; expected: Uint8Array[] } {
	const ends = [0, 0, 0];
	const writes: Write[] = [];
	for (const [seed, { bytes, isGap, shift, cuts, order, file }] of chosen.entries()) {
		const position = ends[file]!;
		ends[file] = position + bytes;
		if (isGap) continue;
		const memory = allocatePages(bytes + 2 * PAGE_BYTES);
		const at = (position + shift) % PAGE_BYTES;
		const whole = memory.subarray(at, at + bytes);
		whole.set(NOISE.subarray(seed * 7919, seed * 7919 + bytes));
		const bounds = [
			0,
			...cuts.map((cut) => Math.floor(cut * bytes)).toSorted((a, b) => a - b),
			bytes,
		];
		const parts = bounds.slice(1).map((end, i) => whole.subarray(bounds[i], end));
		writes.push({ file, position, parts, order });
	}
	const expected = ends.map((bytes) => new Uint8Array(bytes));
	for (const { file, position, parts } of writes) {
		let cursor = position;
		for (const part of parts) {
			expected[file]!.set(part, cursor);
			cursor += part.length;
		}
	}
	return { writes: writes.toSorted((a, b) => a.order - b.order), expected };
}

/** Writes with several writes in flight and a sync among them, and compares what the files hold. */
async function expectFiles(folder: string, chosen: Stretches, how: WriteMode): Promise<DataFiles> {
	const { writes, expected } = planWrites(chosen);
	const files = expected.map((bytes, i) => ({ name: `f${i}`, bytes: bytes.length }));
	await using data = new DataFiles({ directory: folder, files, maxOpen: 4, mode: how });
	// As an interrupted run leaves them: at their size, with nothing in them yet.
	for (const { name, bytes } of files) writeFileSync(join(folder, name), new Uint8Array(bytes));
	const queue = [...writes];
	const work = async (): Promise<void> => {
		for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
			await data.write(next.file, next.position, next.parts);
			if (next.order % 7 === 0) await data.sync();
			// Whoever reads meanwhile fills the page cache, also with pages that are written past it later.
			if (next.order % 5 === 0) readFileSync(join(folder, files[next.file]!.name));
		}
	};
	await Promise.all([work(), work(), work()]);
	// Once through the page cache, where both kinds of writes must show at once, and once from the disk.
	for (const [i, { name, bytes }] of files.entries()) {
		const path = join(folder, name);
		expect(Buffer.compare(readFileSync(path), expected[i]!)).toBe(0);
		if (isDirect) expect(Buffer.compare(readPastCache(path, bytes), expected[i]!)).toBe(0);
	}
	await data.sync();
	const total = writes.flatMap(({ parts }) => parts).reduce((sum, { length }) => sum + length, 0);
	const { directBytes, bufferedBytes } = data.writes;
	expect(directBytes + bufferedBytes).toBe(total);
	if (how === "buffered") expect(directBytes).toBe(0);
	return data;
}

describe("data files hold what was written, whatever the sizes, places, addresses and order", () => {
	const bounded = { numRuns: 60, interruptAfterTimeLimit: 20_000 };

	test("through the page cache", async () => {
		let count = 0;
		const property = fc.asyncProperty(stretches, async (chosen) => {
			const folder = mkdtempSync(join(directory, `${count++}-`));
			await lastRun.track(expectFiles(folder, chosen, "buffered"));
		});
		await fc.assert(property, bounded);
	});

	test.skipIf(!isDirect)(
		"past it, edges through it (needs O_DIRECT in the temporary folder)",
		async () => {
			let count = 0;
			let directBytes = 0;
			const property = fc.asyncProperty(stretches, async (chosen) => {
				const folder = mkdtempSync(join(directory, `${count++}-`));
				const { writes } = await lastRun.track(expectFiles(folder, chosen, "direct"));
				expect(writes.refusals).toBe(0);
				directBytes += writes.directBytes;
			});
			await fc.assert(property, bounded);
			expect(directBytes).toBeGreaterThan(0);
		},
	);
});

test("no page is in a direct and in a buffered segment, and none is in two direct ones", () => {
	fc.assert(
		fc.property(stretches, (chosen) => {
			const { writes, expected } = planWrites(chosen);
			const owners = expected.map(() => new Map<number, string>());
			for (const [id, { file, position, parts }] of writes.entries()) {
				const { direct, buffered } = splitAtPages(position, parts);
				const own = (segment: (typeof direct)[number], owner: string): void => {
					const bytes = segment.parts.reduce((sum, part) => sum + part.length, 0);
					const last = Math.floor((segment.position + bytes - 1) / PAGE_BYTES);
					for (let page = Math.floor(segment.position / PAGE_BYTES); page <= last; page++) {
						const before = owners[file]!.get(page);
						expect(before === undefined || (before === "buffered" && owner === "buffered")).toBe(
							true,
						);
						owners[file]!.set(page, owner);
					}
				};
				for (const segment of direct) {
					const [pages] = segment.parts;
					expect(segment.parts.length).toBe(1);
					expect(segment.position % PAGE_BYTES).toBe(0);
					expect(pages!.byteOffset % PAGE_BYTES).toBe(0);
					expect(pages!.length % PAGE_BYTES).toBe(0);
					expect(pages!.length).toBeGreaterThanOrEqual(MIN_DIRECT_BYTES);
					own(segment, `direct ${id}`);
				}
				for (const segment of buffered) own(segment, "buffered");
			}
		}),
		{ numRuns: 100 },
	);
});

describe.skipIf(!isDirect)(
	"direct writes that are refused (needs O_DIRECT in the temporary folder)",
	() => {
		test("memory that does not begin on a page: the same bytes through the page cache, counted once", async () => {
			const bytes = 512 * KIB;
			// The allocator keeps its own header before large blocks, so none begins on a page.
			const memory = Buffer.allocUnsafeSlow(bytes).fill(randomBytes(bytes, 3));
			const files = [{ name: "f", bytes }];
			await using data = new DataFiles({ directory, files, maxOpen: 4, mode: "direct" });
			await data.write(0, 0, [memory.subarray(0, bytes / 2)]);
			await data.write(0, bytes / 2, [memory.subarray(bytes / 2)]);
			await data.sync();
			expect(Buffer.compare(readFileSync(join(directory, "f")), memory)).toBe(0);
			const { refusals, directBytes, bufferedBytes } = data.writes;
			// Disks with weaker demands on memory take it; what counts is that nothing is lost or counted twice.
			expect([{ refusals, directBytes, bufferedBytes }]).toContainEqual(
				refusals === 1
					? { refusals: 1, directBytes: 0, bufferedBytes: bytes }
					: { refusals: 0, directBytes: bytes, bufferedBytes: 0 },
			);
		});
	},
);

describe("the probe", () => {
	test("leaves nothing behind", async () => {
		const folder = mkdtempSync(join(directory, "probe-"));
		await probeWriteMode(folder);
		expect(readdirSync(folder)).toEqual([]);
	});

	test("a directory that is not there is written through the page cache, and fails when it is", async () => {
		expect(await probeWriteMode(join(directory, "missing"))).toBe("buffered");
	});

	test.skipIf(process.platform !== "linux")(
		"a file system in memory has only the page cache",
		async () => {
			expect(await probeWriteMode("/dev/shm")).toBe("buffered");
		},
	);
});
