import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { itemBytes } from "../../src/core/dtype.ts";
import type { DequantDim, DequantPiece, ReshardBackend } from "../../src/core/ports.ts";
import {
	type DequantDtype,
	ELEMENT_BITS,
	type ElementCodec,
	SCALE_BYTES,
	type ScaleCodec,
} from "../../src/core/quantisation.ts";
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

const SUBJECTS: readonly Subject[] = [true, false].map((simd) => {
	const backend = createCpuBackend({ simd });
	return { backend, memory: backend.allocate(CASE_BYTES) };
});

const codecs = fc.constantFrom<ElementCodec>("float8_e4m3fn", "float4_e2m1", "float8_e5m2");
const scaleCodecs = fc.constantFrom<ScaleCodec>(
	"float32",
	"bfloat16",
	"float16",
	"float8_e8m0fnu",
	"power_of_two",
);
const targets = fc.constantFrom<DequantDtype>("bfloat16", "float32", "float16");

const formats = fc.oneof(
	fc.record({ codec: codecs, scaleCodec: scaleCodecs, targetDtype: targets }),
	fc.record({
		codec: fc.constant("float4_e2m1" as const),
		scaleCodec: fc.constant("power_of_two" as const),
		targetDtype: targets,
	}),
);

interface Layout {
	readonly dims: readonly DequantDim[];
	/** One past the last element and scale. */
	readonly sourceElements: number;
	readonly scales: number;
	readonly targetElements: number;
}

const sizes = fc.oneof(
	fc.integer({ min: 1, max: 9 }),
	fc.constantFrom(2, 8, 16, 31, 32, 33, 40, 64, 128, 130),
);

/**
 * Axes as the source has them, the outermost first: each a number of blocks, and elements in a block. `rank` orders them in the
 * target, where blocks and elements of an axis may lie apart, as axes of their own.
 */
const axes = fc.array(
	fc.record({
		blocks: fc.integer({ min: 1, max: 4 }),
		size: sizes,
		sourceGap: fc.constantFrom(0, 0, 0, 2, 3),
		targetGap: fc.constantFrom(0, 0, 0, 1),
		rank: fc.nat(3),
	}),
	{ minLength: 1, maxLength: 3 },
);

type AxisCase = typeof axes extends fc.Arbitrary<(infer A)[]> ? A : never;

function layoutOf(list: readonly AxisCase[]): Layout {
	const loops: { size: number; source: number; scale: number; rank: number; gap: number }[] = [];
	let [source, scales] = [1, 1];
	for (const { blocks, size, sourceGap, targetGap, rank } of list.toReversed()) {
		loops.unshift({ size, source, scale: 0, rank, gap: targetGap });
		loops.unshift({ size: blocks, source: source * size, scale: scales, rank, gap: 0 });
		source = source * size * blocks + sourceGap;
		scales *= blocks;
	}
	const ordered = loops.toSorted((a, b) => a.rank - b.rank);
	let target = 1;
	const dims: DequantDim[] = [];
	for (const loop of ordered.toReversed()) {
		dims.unshift({
			size: loop.size,
			sourceStride: loop.source,
			targetStride: target,
			scaleStride: loop.scale,
		});
		target = target * loop.size + loop.gap;
	}
	return {
		dims: dims.filter((dim) => dim.size > 1),
		sourceElements: source,
		scales,
		targetElements: target,
	};
}

const layouts = axes
	.filter((list) => list.reduce((product, axis) => product * axis.size * axis.blocks, 1) <= 8000)
	.map(layoutOf);

const places = fc.record({
	sourceOffset: fc.constantFrom(0, 0, 0, 1, 2, 32),
	scaleOffset: fc.nat(3),
	targetOffset: fc.nat(5),
	/** Bytes before the elements, the scales and the target: every alignment. */
	gaps: fc.tuple(fc.nat(9), fc.nat(9), fc.constantFrom(0, 0, 0, 1, 2, 4, 7)),
	seed: fc.nat(),
});

type PlaceCase = typeof places extends fc.Arbitrary<infer P> ? P : never;

/** Runs the piece with every back end and naively, on memory where every byte outside of the piece must stay as it is. */
async function expectSame(
	format: Pick<DequantPiece, "codec" | "scaleCodec" | "targetDtype">,
	layout: Layout,
	at: PlaceCase,
): Promise<void> {
	const { sourceOffset, scaleOffset, targetOffset, seed, gaps } = at;
	const offsets = { sourceOffset, scaleOffset, targetOffset };
	const names = { kind: "dequant", source: "w", scales: "s" } as const;
	const piece: DequantPiece = { ...names, ...format, ...offsets, dims: layout.dims };
	const bits = ELEMENT_BITS[format.codec];
	const width = SCALE_BYTES[format.scaleCodec];
	const elementsStart = gaps[0];
	const elementBytes = Math.ceil(((sourceOffset + layout.sourceElements) * bits) / 8);
	const scalesStart = elementsStart + elementBytes + gaps[1];
	const scaleBytes = (scaleOffset + layout.scales) * width;
	const stagingEnd = scalesStart + scaleBytes;
	// Some bytes lie between the sides, and behind them: a kernel that goes too far is seen.
	const targetStart = Math.ceil(stagingEnd / 4) * 4 + 20 + gaps[2];
	const targetBytes = (targetOffset + layout.targetElements) * itemBytes(format.targetDtype);
	const before = randomBytes(targetStart + targetBytes + 40, seed);
	const expected = before.slice();
	const read = (name: string, offset: number, bytes: number): Uint8Array => {
		const start = (name === "w" ? elementsStart : scalesStart) + offset;
		return before.subarray(start, start + bytes);
	};
	runNaively(piece, read, expected.subarray(targetStart));
	const op = {
		piece,
		stagingOffset: elementsStart + Math.floor((sourceOffset * bits) / 8),
		scaleStagingOffset: scalesStart + scaleOffset * width,
	};
	for (const { backend, memory } of SUBJECTS) {
		memory.set(before);
		const target = memory.subarray(targetStart, targetStart + targetBytes);
		await runOps(backend, [op], memory.subarray(0, stagingEnd), target);
		expect(Buffer.compare(memory.subarray(0, before.length), expected)).toBe(0);
	}
}

describe("dequantisation on the CPU equals the definition of a piece", () => {
	test("in every format, shape, order of axes and alignment", async () => {
		await fc.assert(fc.asyncProperty(formats, layouts, places, expectSame), {
			numRuns: 600,
			interruptAfterTimeLimit: 15_000,
		});
	});
});
