import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Box, boxNumel, intersectBoxes, wholeBox } from "../../src/core/box.ts";
import type { CheckpointIndex, CheckpointTensor } from "../../src/core/checkpoint.ts";
import type { Layout, Shard } from "../../src/core/layout.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { openBuffered, readAll, type ReadCounts } from "../../src/lint/buffered-file.ts";
import { entryReads, loadEntry } from "../../src/lint/entry-reads.ts";
import { lintIndex } from "../../src/lint/lint-index.ts";

/** Where an axis of a length is cut. */
function cutsOf(length: number): fc.Arbitrary<readonly number[]> {
	return fc
		.uniqueArray(fc.integer({ min: 1, max: length }), { maxLength: 6 })
		.map((cuts) => [0, ...cuts.filter((cut) => cut < length).toSorted((a, b) => a - b), length]);
}

/** A grid of boxes over a matrix. */
function gridOf(rows: readonly number[], columns: readonly number[]): Box[] {
	return rows.slice(1).flatMap((end, r) =>
		columns.slice(1).map((edge, c) => ({
			offset: [rows[r]!, columns[c]!],
			size: [end - rows[r]!, edge - columns[c]!],
		})),
	);
}

const matrix = fc
	.record({ rows: fc.integer({ min: 1, max: 400 }), columns: fc.integer({ min: 1, max: 60 }) })
	.chain(({ rows, columns }) =>
		fc.record({
			shape: fc.constant([rows, columns]),
			stored: fc.tuple(cutsOf(rows), cutsOf(columns)),
			held: fc.tuple(cutsOf(rows), cutsOf(columns)),
			replicas: fc.integer({ min: 1, max: 3 }),
		}),
	);

interface Case {
	readonly index: CheckpointIndex;
	readonly layout: Layout;
	readonly fileBytes: ReadonlyMap<string, number>;
}

const WORLD = 12;

const cases = fc
	.record({
		tensors: fc.array(matrix, { minLength: 1, maxLength: 4 }),
		files: fc.integer({ min: 1, max: 3 }),
	})
	.map(({ tensors, files }): Case => {
		const ends = new Map<string, number>();
		let entry = 0;
		const stored = tensors.map(({ shape, stored: [rows, columns] }, number): CheckpointTensor => {
			const fqn = `t${number}`;
			const entries = gridOf(rows, columns).map((box) => {
				const file = `__${entry++ % files}_0.distcp`;
				const { prefixBytes, dataBytes, suffixBytes } = torchSaveFormat.geometry(
					"float32",
					box.size,
				);
				const offset = ends.get(file) ?? 0;
				const length = prefixBytes + dataBytes + suffixBytes;
				ends.set(file, offset + length);
				return { fqn, dtype: "float32" as const, box, file, offset, length };
			});
			return { fqn, dtype: "float32", shape, entries };
		});
		const shards = new Map(
			tensors.map(({ held: [rows, columns], replicas }, number) => [
				`t${number}`,
				gridOf(rows, columns).map((box, index): Shard => ({
					box,
					ranks: Array.from({ length: replicas }, (_, copy) => (index + 4 * copy) % WORLD).toSorted(
						(a, b) => a - b,
					),
				})),
			]),
		);
		return {
			index: { tensors: stored, objects: [] },
			layout: { worldSize: WORLD, description: "", shardsOf: (fqn) => shards.get(fqn)! },
			fileBytes: ends,
		};
	});

/** Reads tensor by tensor, box by box, as torch does. */
function naive({ index, layout, fileBytes }: Case, rank: number, buffer: number): ReadCounts {
	const counts: ReadCounts = { bytes: 0, calls: 0 };
	const files = new Map([...fileBytes.keys()].map((name) => [name, openBuffered()]));
	for (const { fqn, shape, entries } of index.tensors) {
		const ends = [0, 1].map((d) =>
			Math.max(...entries.map(({ box }) => box.offset[d]! + box.size[d]!)),
		);
		const sweep = ends[1]! > ends[0]! ? 1 : 0;
		for (const { box, ranks } of layout.shardsOf(fqn, shape)) {
			if (!ranks.includes(rank)) continue;
			const read = entries
				.filter((entry) => intersectBoxes(entry.box, box) !== undefined)
				.map((entry, position) => ({
					entry,
					position,
					end: entry.box.offset[sweep]! + entry.box.size[sweep]!,
				}))
				.toSorted((a, b) => a.end - b.end || a.position - b.position);
			for (const { entry } of read) {
				const reads = entryReads(entry.dtype, entry.box.size, entry.length);
				loadEntry(
					reads,
					entry.offset,
					files.get(entry.file)!,
					fileBytes.get(entry.file)!,
					buffer,
					counts,
				);
			}
		}
	}
	return counts;
}

function lint({ index, layout, fileBytes }: Case, bufferBytes: number) {
	return lintIndex({
		index,
		files: [...fileBytes].map(([name, bytes]) => ({ name, bytes, isMissing: false })),
		metadataBytes: 0,
		trainer: {
			tensors: index.tensors.map(({ fqn, shape }) => ({ fqn, shape })),
			objects: [],
			layout,
		},
		bufferBytes,
	});
}

test("sums are those of reading entry by entry", () => {
	fc.assert(
		fc.property(cases, fc.constantFrom(512, 4096, 65_536), (one, buffer) => {
			const { costs } = lint(one, buffer);
			for (const { rank, readBytes, reads } of costs.ranks) {
				const { bytes, calls } = naive(one, rank, buffer);
				expect({ readBytes, reads }).toEqual({ readBytes: bytes, reads: calls });
			}
		}),
		{ numRuns: 150 },
	);
});

test("what is needed, and entries opened", () => {
	fc.assert(
		fc.property(cases, (one) => {
			const { costs, findings } = lint(one, 4096);
			expect(findings).toEqual([]);
			for (const { rank, neededBytes, entries } of costs.ranks) {
				let [elements, opened] = [0, 0];
				for (const { fqn, shape, entries: stored } of one.index.tensors) {
					for (const { box, ranks } of one.layout.shardsOf(fqn, shape)) {
						if (!ranks.includes(rank)) continue;
						elements += boxNumel(box);
						opened += stored.filter((entry) => intersectBoxes(entry.box, box) !== undefined).length;
					}
				}
				expect({ neededBytes, entries }).toEqual({ neededBytes: 4 * elements, entries: opened });
			}
		}),
		{ numRuns: 60 },
	);
});

/** A tensor of many large chunks, which are summed up at once, among small ones. */
function largeCase(chunks: number): Case {
	const ends = new Map<string, number>();
	const tensor = (fqn: string, columns: number, rows: number): CheckpointTensor => ({
		fqn,
		dtype: "float32",
		shape: [rows, columns],
		entries: Array.from({ length: chunks }, (_, chunk) => {
			const box = { offset: [(chunk * rows) / chunks, 0], size: [rows / chunks, columns] };
			const file = `__${chunk % 8}_0.distcp`;
			const { prefixBytes, dataBytes, suffixBytes } = torchSaveFormat.geometry("float32", box.size);
			const length = prefixBytes + dataBytes + suffixBytes;
			const offset = ends.get(file) ?? 0;
			ends.set(file, offset + length);
			return { fqn, dtype: "float32" as const, box, file, offset, length };
		}),
	});
	const tensors = [
		tensor("a", 4096, chunks),
		tensor("b.small", 3, chunks),
		tensor("c", 4096, chunks),
		tensor("d.small", 9, chunks),
		tensor("e", 9000, chunks),
	];
	const ranks = Array.from({ length: WORLD }, (_, rank) => rank);
	return {
		index: { tensors, objects: [] },
		layout: {
			worldSize: WORLD,
			description: "",
			shardsOf: (_, shape) => [{ box: wholeBox(shape), ranks }],
		},
		fileBytes: ends,
	};
}

test("shards of many large entries are summed up to the same", () => {
	for (const chunks of [16, 64, 256]) {
		const one = largeCase(chunks);
		const { readBytes, reads } = lint(one, 4096).costs.ranks[0]!;
		const { bytes, calls } = naive(one, 0, 4096);
		expect({ readBytes, reads }).toEqual({ readBytes: bytes, reads: calls });
	}
});

test("an object is read whole, through the buffer", () => {
	const counts: ReadCounts = { bytes: 0, calls: 0 };
	const file = openBuffered();
	readAll(file, 100, 1000, 50_000, 4096, counts);
	expect(counts).toEqual({ bytes: 4096, calls: 1 });
	readAll(file, 1100, 10_000, 50_000, 4096, counts);
	// 3,096 bytes were there; 4,096 come straight, the last 2,808 through the buffer.
	expect(counts).toEqual({ bytes: 4096 + 4096 + 4096, calls: 3 });
	readAll(file, 49_000, 1000, 50_000, 4096, counts);
	expect(counts).toEqual({ bytes: 3 * 4096 + 1000, calls: 4 });
});
