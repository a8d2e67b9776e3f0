import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Dtype, DTYPES, itemBytes } from "../../src/core/dtype.ts";
import type { MoveOp, PieceDim, ReshardBackend } from "../../src/core/ports.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { runNaively } from "../support/naive-pieces.ts";
import { randomBytes } from "../support/random.ts";
import { runOps } from "../support/run-ops.ts";

/** Memory that a case is run in, with room for both sides of any. */
const CASE_BYTES = 2 ** 20;

/** A back end with memory of its own, where its kernels work. */
interface Subject {
	readonly backend: ReshardBackend;
	readonly memory: Uint8Array;
}

function subject(simd: boolean): Subject {
	const backend = createCpuBackend({ simd });
	return { backend, memory: backend.allocate(CASE_BYTES) };
}

const SUBJECTS = [subject(true), subject(false)];

/** Sizes that meet every kernel: short and long runs, odd and even counts, blocks of columns and more. */
const sizes = fc.oneof(
	fc.integer({ min: 1, max: 5 }),
	fc.constantFrom(2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 65, 127, 130),
);

interface Layout {
	readonly dims: readonly PieceDim[];
	/** One past the last source and target element. */
	readonly sourceElements: number;
	readonly targetElements: number;
}

const axisOf = (size: fc.Arbitrary<number>) =>
	fc.record({
		size,
		sourceGap: fc.constantFrom(0, 0, 1, 2, 4),
		targetGap: fc.constantFrom(0, 0, 0, 1, 2),
		sourceRank: fc.nat(1000),
	});

/** A block of a source tensor, permuted, with gaps on both sides. */
const layouts: fc.Arbitrary<Layout> = fc
	.oneof(
		fc.array(axisOf(sizes), { minLength: 0, maxLength: 4 }),
		fc.array(axisOf(fc.constantFrom(2, 2, 3, 4, 9)), { minLength: 4, maxLength: 6 }),
	)
	.filter((axes) => axes.reduce((product, axis) => product * axis.size, 1) <= 20_000)
	.map((axes) => {
		const dims = axes.map(({ size }) => ({ size, sourceStride: 0, targetStride: 0 }));
		let targetElements = 1;
		for (let d = axes.length - 1; d >= 0; d--) {
			dims[d]!.targetStride = targetElements + (d === axes.length - 1 ? 0 : axes[d]!.targetGap);
			targetElements = dims[d]!.targetStride * axes[d]!.size;
		}
		let sourceElements = 1;
		const order = axes
			.map((_, d) => d)
			.toSorted((a, b) => axes[b]!.sourceRank - axes[a]!.sourceRank);
		for (const d of order.toReversed()) {
			dims[d]!.sourceStride = sourceElements + (sourceElements === 1 ? 0 : axes[d]!.sourceGap);
			sourceElements = dims[d]!.sourceStride * axes[d]!.size;
		}
		return { dims: dims.filter((dim) => dim.size > 1), sourceElements, targetElements };
	});

const places = fc.record({
	sourceOffset: fc.nat(5),
	targetOffset: fc.nat(5),
	/** Bytes before the first element: every alignment. */
	stagingStart: fc.nat(17),
	targetStart: fc.constantFrom(0, 0, 0, 1, 2, 4, 13),
	seed: fc.nat(),
});

/** Runs the piece with every back end and naively, on memory where every byte outside the piece must stay as it is. */
async function expectSame(
	piece: MoveOp["piece"],
	layout: Layout,
	at: { readonly stagingStart: number; readonly targetStart: number; readonly seed: number },
): Promise<void> {
	const sourceWidth = piece.kind === "gather" ? itemBytes(piece.sourceDtype) : 1;
	const sourceOffset = piece.kind === "gather" ? piece.sourceOffset : 0;
	const sourceBytes = (sourceOffset + layout.sourceElements) * sourceWidth;
	const targetBytes = (piece.targetOffset + layout.targetElements) * itemBytes(piece.targetDtype);
	// Some bytes lie between the two, and behind them: a kernel that goes too far is seen.
	const targetStart = at.stagingStart + sourceBytes + 19 + at.targetStart;
	const before = randomBytes(targetStart + targetBytes + 19, at.seed);
	const source = before.subarray(at.stagingStart, at.stagingStart + sourceBytes);
	const expected = before.slice();
	runNaively(
		piece,
		(_, offset, length) => source.subarray(offset, offset + length),
		expected.subarray(targetStart),
	);
	const op = { piece, stagingOffset: at.stagingStart + sourceOffset * sourceWidth };
	for (const { backend, memory } of SUBJECTS) {
		memory.set(before);
		const staging = memory.subarray(0, at.stagingStart + sourceBytes);
		await runOps(backend, [op], staging, memory.subarray(targetStart, targetStart + targetBytes));
		expect(Buffer.compare(memory.subarray(0, before.length), expected)).toBe(0);
	}
}

describe("the CPU back end equals the definition of a piece", () => {
	test("gathers of every dtype, shape, stride and alignment", async () => {
		const dtypes = fc.constantFrom(...(Object.keys(DTYPES) as Dtype[]));
		await fc.assert(
			fc.asyncProperty(dtypes, layouts, places, async (dtype, layout, at) => {
				const { sourceOffset, targetOffset } = at;
				const common = {
					kind: "gather",
					source: "s",
					sourceDtype: dtype,
					targetDtype: dtype,
				} as const;
				await expectSame({ ...common, sourceOffset, targetOffset, dims: layout.dims }, layout, at);
			}),
			{ numRuns: 400, interruptAfterTimeLimit: 10_000 },
		);
	});

	test("casts", async () => {
		const floats = fc.constantFrom("float32" as const, "float16" as const, "bfloat16" as const);
		await fc.assert(
			fc.asyncProperty(floats, floats, layouts, places, async (from, to, layout, at) => {
				fc.pre(from !== to);
				const { sourceOffset, targetOffset } = at;
				const common = { kind: "gather", source: "s", sourceDtype: from, targetDtype: to } as const;
				await expectSame({ ...common, sourceOffset, targetOffset, dims: layout.dims }, layout, at);
			}),
			{ numRuns: 400, interruptAfterTimeLimit: 10_000 },
		);
	});

	test("fills", async () => {
		const cases = fc.constantFrom<[Dtype, number]>(
			["float32", 1.5],
			["bfloat16", -0],
			["float16", 65504],
			["float64", Math.PI],
			["int64", -(2 ** 40) - 3],
			["uint8", 255],
			["bool", 1],
			["int32", -7],
			["complex64", 2],
			["float8_e5m2", 0],
		);
		await fc.assert(
			fc.asyncProperty(cases, layouts, places, async ([dtype, value], layout, at) => {
				const dims = layout.dims.map((dim) => ({ ...dim, sourceStride: 0 }));
				const { targetOffset } = at;
				const piece: MoveOp["piece"] = {
					kind: "fill",
					value,
					targetDtype: dtype,
					targetOffset,
					dims,
				};
				await expectSame(piece, layout, at);
			}),
			{ numRuns: 200, interruptAfterTimeLimit: 10_000 },
		);
	});

	test("transposes of every size of element, rows and columns even and odd", async () => {
		const shape = fc.record({
			rows: sizes,
			columns: sizes,
			rowGap: fc.nat(2),
			columnGap: fc.nat(3),
			sourceDtype: fc.constantFrom<Dtype>("uint8", "bfloat16", "bfloat16", "float32", "int64"),
		});
		// Mostly on words of 4 bytes, where pairs can move.
		const aligned = { sourceOffset: 0, targetOffset: 2, stagingStart: 4, targetStart: 0, seed: 1 };
		const mostlyAligned = fc.oneof(
			{ weight: 3, arbitrary: fc.constant(aligned) },
			{ weight: 1, arbitrary: places },
		);
		await fc.assert(
			fc.asyncProperty(shape, mostlyAligned, async (transpose, at) => {
				const { rows, columns, rowGap, columnGap, sourceDtype } = transpose;
				const rowStride = columns + rowGap;
				const sourceStride = rows + columnGap;
				const dims = [
					{ size: rows, sourceStride: 1, targetStride: rowStride },
					{ size: columns, sourceStride, targetStride: 1 },
				].filter((dim) => dim.size > 1);
				const layout = {
					dims,
					sourceElements: sourceStride * columns,
					targetElements: rowStride * rows,
				};
				const common = { source: "s", sourceDtype, targetDtype: sourceDtype } as const;
				const { sourceOffset, targetOffset } = at;
				await expectSame(
					{ kind: "gather", ...common, sourceOffset, targetOffset, dims },
					layout,
					at,
				);
			}),
			{ numRuns: 300, interruptAfterTimeLimit: 10_000 },
		);
	});
});
