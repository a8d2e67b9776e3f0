import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dtype, DTYPES, itemBytes } from "../../src/core/dtype.ts";
import type { DequantOp, MoveOp, PieceDim, ReshardOp } from "../../src/core/ports.ts";
import {
	type DequantDtype,
	ELEMENT_BITS,
	type ElementCodec,
	SCALE_BYTES,
	type ScaleCodec,
} from "../../src/core/quantisation.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { float32Patterns } from "../support/float32-patterns.ts";
import { naiveTarget, randomLoops, randomScaledLoops } from "../support/kernel-cases.ts";
import { type KernelRig, openKernelRig } from "../support/kernel-rig.ts";
import { createRandom, type Random, randomBytes } from "../support/random.ts";
import { runOps } from "../support/run-ops.ts";
import { findSoftwareGpu } from "../support/software-gpu.ts";

const search = findSoftwareGpu();
const why = "skip" in search ? `: ${search.skip}` : "";

const FLOATS = ["float32", "float16", "bfloat16"] as const;
const CODECS = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1"] as const;
const SCALES = ["float32", "bfloat16", "float16", "float8_e8m0fnu", "power_of_two"] as const;

/** Room for both sides of every test. */
const MAX_BYTES = 20 * 2 ** 20;

const cpu = createCpuBackend();
let rig: KernelRig;

/** Lets ops follow one another in the target, each at the next element, or with some bytes between. */
class Batch {
	readonly ops: ReshardOp[] = [];
	#end = 0;

	/** The element of the target where one of `elements` elements of `dtype` may begin. */
	place(dtype: Dtype, elements: number, gap: number): number {
		const width = itemBytes(dtype);
		const start = Math.ceil(this.#end / width) + gap;
		this.#end = (start + elements) * width;
		return start;
	}

	get targetBytes(): number {
		return this.#end;
	}
}

/** Compares the device with the CPU back end and with the definition, in every byte that an op makes. */
async function expectSame(
	{ ops, targetBytes }: { readonly ops: readonly ReshardOp[]; readonly targetBytes: number },
	staging: Uint8Array,
	bases: Parameters<KernelRig["run"]>[3] = {},
): Promise<void> {
	const { bytes, encoded } = await rig.run(ops, staging, targetBytes, bases);
	expect(encoded.rest).toEqual([]);
	const onCpu = new Uint8Array(targetBytes);
	await runOps(cpu, ops, staging, onCpu);
	const naive = naiveTarget(ops, staging, targetBytes);
	const wrong = { cpu: 0, naive: 0, made: 0 };
	for (let i = 0; i < targetBytes; i++) {
		if (!naive.isMade(i)) continue;
		wrong.made++;
		if (bytes[i] !== onCpu[i]) wrong.cpu++;
		if (bytes[i] !== naive.bytes[i]) wrong.naive++;
	}
	expect(wrong).toEqual({ cpu: 0, naive: 0, made: wrong.made });
	expect(wrong.made).toBeGreaterThan(0);
}

function gatherOp(
	from: Dtype,
	to: Dtype,
	stagingOffset: number,
	targetOffset: number,
	dims: readonly PieceDim[],
): MoveOp {
	const dtypes = { sourceDtype: from, targetDtype: to };
	return {
		piece: { kind: "gather", source: "w", ...dtypes, sourceOffset: 0, targetOffset, dims },
		stagingOffset,
	};
}

function addGather(
	batch: Batch,
	random: Random,
	staging: Uint8Array,
	from: Dtype,
	to: Dtype,
): void {
	const loops = randomLoops(random, random.below(7), 3000);
	const start = random.below(staging.length - loops.sourceElements * itemBytes(from));
	const target = batch.place(to, loops.targetElements, random.pick([0, 0, 1, 3]));
	batch.ops.push(gatherOp(from, to, start, target, loops.dims));
}

/** Elements one after the other. */
const run = (size: number): PieceDim[] => [{ size, sourceStride: 1, targetStride: 1 }];

describe.skipIf(why !== "")(`the kernels of the graphics processor${why}`, () => {
	beforeAll(async () => {
		rig = await openKernelRig(MAX_BYTES);
	});
	afterAll(async () => {
		await rig[Symbol.asyncDispose]();
	});

	describe("gathers", () => {
		test.each([1, 2, 3])(
			"of every dtype, shape, stride and alignment, in one batch (%i)",
			async (seed) => {
				const random = createRandom(seed);
				const staging = randomBytes(400_000, seed);
				const batch = new Batch();
				for (const dtype of Object.keys(DTYPES) as Dtype[]) {
					for (let i = 0; i < 12; i++) addGather(batch, random, staging, dtype, dtype);
				}
				await expectSame(batch, staging);
			},
		);

		test("alone, where the target need not be cleared and where it must", async () => {
			const random = createRandom(4);
			const staging = randomBytes(200_000, 4);
			for (let i = 0; i < 24; i++) {
				const batch = new Batch();
				const dtype = random.pick(["uint8", "bfloat16", "float32", "int64"] as const);
				addGather(batch, random, staging, dtype, dtype);
				await expectSame(batch, staging);
			}
		});

		test("up to the last byte of the staged ones, whatever their number", async () => {
			for (const length of [1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 257]) {
				for (let start = 0; start < Math.min(length, 4); start++) {
					const batch = new Batch();
					const size = length - start;
					const dims = run(size).filter((dim) => dim.size > 1);
					const target = batch.place("uint8", size, start);
					batch.ops.push(gatherOp("uint8", "uint8", start, target, dims));
					await expectSame(batch, randomBytes(length, length));
				}
			}
		});

		test("with more loops than a job holds", async () => {
			const loops = Array.from({ length: 9 }, (_, d) => ({
				size: 2,
				sourceStride: 2 ** d + (d > 4 ? 1 : 0),
				targetStride: 3 * 2 ** (8 - d),
			}));
			for (const dtype of ["uint8", "bfloat16", "float64"] as const) {
				const batch = new Batch();
				batch.ops.push(gatherOp(dtype, dtype, 3, batch.place(dtype, 2 ** 11, 1), loops));
				await expectSame(batch, randomBytes(10_000, 5));
			}
		});

		test("of hundreds of small pieces", async () => {
			const random = createRandom(6);
			const batch = new Batch();
			const staging = randomBytes(5000, 6);
			for (let i = 0; i < 3000; i++) {
				const size = 1 + random.below(40);
				const dtype = random.pick(["uint8", "float16", "float32"] as const);
				const dims = run(size).filter((dim) => dim.size > 1);
				const target = batch.place(dtype, size, 0);
				batch.ops.push(gatherOp(dtype, dtype, random.below(4800), target, dims));
			}
			await expectSame(batch, staging);
		});

		test("in more workgroups than a row of the grid has", async () => {
			const size = 65_536 * 64 * 4 + 1003;
			const staging = randomBytes(size + 3, 7);
			const op = gatherOp("uint8", "uint8", 3, 1, run(size));
			const { bytes, encoded } = await rig.run([op], staging, size + 1);
			expect(encoded.dispatches[0]?.y).toBe(2);
			expect(Buffer.compare(bytes.subarray(1), staging.subarray(3))).toBe(0);
		});
	});

	describe("casts", () => {
		const pairs = FLOATS.flatMap((from) => FLOATS.map((to) => [from, to] as const)).filter(
			([from, to]) => from !== to,
		);

		test.each(pairs)("%s to %s: every pattern, or every kind of one", async (from, to) => {
			const patterns =
				from === "float32"
					? Uint32Array.from(float32Patterns())
					: Uint16Array.from({ length: 65_536 }, (_, i) => i);
			const lead = itemBytes(from) - 1;
			const staging = new Uint8Array(lead + patterns.byteLength);
			staging.set(new Uint8Array(patterns.buffer), lead);
			const op = gatherOp(from, to, lead, 1, run(patterns.length));
			await expectSame({ ops: [op], targetBytes: (1 + patterns.length) * itemBytes(to) }, staging);
		});

		test("of every shape, stride and alignment, in one batch", async () => {
			const random = createRandom(8);
			const staging = randomBytes(200_000, 8);
			const batch = new Batch();
			for (const [from, to] of pairs) {
				for (let i = 0; i < 20; i++) addGather(batch, random, staging, from, to);
			}
			await expectSame(batch, staging);
		});
	});

	describe("dequantisation", () => {
		const formats = CODECS.flatMap((codec) =>
			SCALES.flatMap((scaleCodec) =>
				FLOATS.map((targetDtype) => ({ codec, scaleCodec, targetDtype })),
			),
		);

		test.each(CODECS)("%s: every code under every kind of scale", async (codec) => {
			for (const scaleCodec of SCALES) {
				for (const targetDtype of FLOATS) {
					const { op, staging, targetBytes } = allProducts({ codec, scaleCodec, targetDtype });
					await expectSame({ ops: [op], targetBytes }, staging);
				}
			}
		});

		test.each([1, 2])("in every format, shape, order of axes and alignment (%i)", async (seed) => {
			const random = createRandom(100 + seed);
			const staging = randomBytes(100_000, seed);
			const batch = new Batch();
			for (const format of formats) {
				for (let i = 0; i < 6; i++) addDequant(batch, random, staging, format);
			}
			await expectSame(batch, staging);
		});
	});

	test("all kinds of ops side by side, which share words of the target", async () => {
		const random = createRandom(9);
		const staging = randomBytes(100_000, 9);
		const batch = new Batch();
		for (let i = 0; i < 60; i++) {
			addGather(batch, random, staging, "uint8", "uint8");
			addGather(batch, random, staging, "float32", "bfloat16");
			const formats = { codec: random.pick(CODECS), scaleCodec: random.pick(SCALES) };
			addDequant(batch, random, staging, { ...formats, targetDtype: random.pick(FLOATS) });
		}
		await expectSame(batch, staging);
	});

	describe("places up to the end of 32 bits", () => {
		test.each([2 ** 31 - 1000, 2 ** 31 + 4, 2 ** 32 - 80_000])(
			"source bytes from %i on",
			async (first) => {
				const sourceBase = 2 ** 32 - Math.floor(first / 4) * 4;
				const shift = 2 ** 32 - sourceBase;
				const staging = randomBytes(60_000, 10);
				const random = createRandom(10);
				const near = new Batch();
				for (const dtype of ["uint8", "bfloat16", "int64"] as const) {
					for (let i = 0; i < 5; i++) addGather(near, random, staging, dtype, dtype);
				}
				addGather(near, random, staging, "float16", "float32");
				const format = { scaleCodec: "float32", targetDtype: "bfloat16" } as const;
				addDequant(near, random, staging, { codec: "float8_e4m3fn", ...format });
				const far = near.ops.map((op) => shifted(op, shift));
				const expected = await rig.run(near.ops, staging, near.targetBytes);
				const { bytes, encoded } = await rig.run(far, staging, near.targetBytes, { sourceBase });
				expect(encoded.rest).toEqual([]);
				expectSameWhereMade(near, staging, bytes, expected.bytes);
			},
		);

		test("halves of bytes up to 2 GiB", async () => {
			const shift = 2 ** 31 - 80_000;
			const staging = randomBytes(60_000, 11);
			const near = new Batch();
			const random = createRandom(11);
			for (const targetDtype of FLOATS) {
				const format = { codec: "float4_e2m1", scaleCodec: "power_of_two", targetDtype } as const;
				for (let i = 0; i < 4; i++) addDequant(near, random, staging, format);
			}
			const far = near.ops.map((op) => shifted(op, shift));
			const sourceBase = 2 ** 32 - shift;
			const { bytes, encoded } = await rig.run(far, staging, near.targetBytes, { sourceBase });
			expect(encoded.rest).toEqual([]);
			expectSameWhereMade(near, staging, bytes);
		});
	});
});

function shifted(op: ReshardOp, by: number): ReshardOp {
	const stagingOffset = op.stagingOffset + by;
	if (!("scaleStagingOffset" in op)) return { ...op, stagingOffset };
	return { ...op, stagingOffset, scaleStagingOffset: op.scaleStagingOffset + by };
}

function expectSameWhereMade(
	{ ops, targetBytes }: Batch,
	staging: Uint8Array,
	...results: readonly Uint8Array[]
): void {
	const naive = naiveTarget(ops, staging, targetBytes);
	for (const bytes of results) {
		expect(bytes.every((byte, i) => !naive.isMade(i) || byte === naive.bytes[i])).toBe(true);
	}
}

interface Format {
	readonly codec: ElementCodec;
	readonly scaleCodec: ScaleCodec;
	readonly targetDtype: DequantDtype;
}

function dequantOp(
	format: Format,
	places: Pick<DequantOp, "stagingOffset" | "scaleStagingOffset">,
	offsets: { readonly sourceOffset: number; readonly targetOffset: number },
	dims: DequantOp["piece"]["dims"],
): DequantOp {
	const names = { kind: "dequant", source: "w", scales: "s" } as const;
	return { piece: { ...names, ...format, scaleOffset: 0, ...offsets, dims }, ...places };
}

function addDequant(batch: Batch, random: Random, staging: Uint8Array, format: Format): void {
	const loops = randomScaledLoops(random);
	const elementBytes = Math.ceil((loops.sourceElements * ELEMENT_BITS[format.codec]) / 8) + 1;
	const scaleBytes = loops.scales * SCALE_BYTES[format.scaleCodec];
	const places = {
		stagingOffset: random.below(staging.length - elementBytes),
		scaleStagingOffset: random.below(staging.length - scaleBytes),
	};
	const sourceOffset = random.below(2);
	const gap = random.pick([0, 0, 1]);
	const targetOffset = batch.place(format.targetDtype, loops.targetElements, gap);
	batch.ops.push(dequantOp(format, places, { sourceOffset, targetOffset }, loops.dims));
}

/** Every code there is under all scales of one byte, or under scales of every exponent with hard mantissas. */
function allProducts(format: Format): {
	readonly op: DequantOp;
	readonly staging: Uint8Array;
	readonly targetBytes: number;
} {
	const codes = 2 ** ELEMENT_BITS[format.codec];
	const elements =
		codes === 16
			? Uint8Array.from({ length: 8 }, (_, i) => (2 * i) | ((2 * i + 1) << 4))
			: Uint8Array.from({ length: 256 }, (_, i) => i);
	const scales = hardScales(format.scaleCodec);
	const count = scales.length / SCALE_BYTES[format.scaleCodec];
	const staging = new Uint8Array(elements.length + 3 + scales.length);
	staging.set(elements);
	staging.set(scales, elements.length + 3);
	const dims = [
		{ size: count, sourceStride: 0, targetStride: codes, scaleStride: 1 },
		{ size: codes, sourceStride: 1, targetStride: 1, scaleStride: 0 },
	];
	const places = { stagingOffset: 0, scaleStagingOffset: elements.length + 3 };
	return {
		op: dequantOp(format, places, { sourceOffset: 0, targetOffset: 0 }, dims),
		staging,
		targetBytes: count * codes * itemBytes(format.targetDtype),
	};
}

function hardScales(codec: ScaleCodec): Uint8Array {
	if (SCALE_BYTES[codec] === 1) return Uint8Array.from({ length: 256 }, (_, i) => i);
	const random = createRandom(12);
	if (codec === "float32") {
		const patterns: number[] = [
			0, 1, 2, 3, 0x7fffff, 0x7f800001, 0x80000001, 0xff800000, 0x80000000,
		];
		for (let exponent = 0; exponent < 256; exponent++) {
			const hard = [0, 0x7fffff, 0x400001, random.below(2 ** 23)][exponent % 4]!;
			patterns.push((exponent % 2) * 2 ** 31 + exponent * 2 ** 23 + hard);
		}
		return new Uint8Array(Uint32Array.from(patterns).buffer);
	}
	const patterns = Uint16Array.from({ length: 256 }, (_, i) => i * 256 + random.below(256));
	return new Uint8Array(patterns.buffer);
}
