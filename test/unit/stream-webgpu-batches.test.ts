import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { itemBytes } from "../../src/core/dtype.ts";
import type { MoveOp, ReshardOp } from "../../src/core/ports.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import { planBatches } from "../../src/stream/webgpu/batches.ts";
import { Coverage } from "../../src/stream/webgpu/coverage.ts";
import { createFallbackBackend } from "../../src/stream/webgpu/create-webgpu-backend.ts";
import { GpuFailure } from "../../src/stream/webgpu/gpu-failure.ts";
import { spansOf } from "../../src/stream/webgpu/op-spans.ts";
import { poolBytes, poolSizes } from "../../src/stream/webgpu/pools.ts";
import { slotLoads } from "../../src/stream/webgpu/uploader.ts";
import type { WindowRunner } from "../../src/stream/webgpu/window-runner.ts";
import { randomLoops, randomScaledLoops } from "../support/kernel-cases.ts";
import { createRandom, type Random, randomBytes } from "../support/random.ts";
import { runOps } from "../support/run-ops.ts";

const MiB = 2 ** 20;
const STAGING_BYTES = 64 * 1024;
const cpu = createCpuBackend();

function randomOp(random: Random): ReshardOp {
	const places = { sourceOffset: random.below(4), targetOffset: random.below(5) };
	const stagingOffset = random.below(999);
	if (random.below(2) === 0) {
		const dtype = random.pick(["uint8", "bfloat16", "float32"] as const);
		const { dims } = randomLoops(random, random.below(4), 1500);
		const dtypes = { sourceDtype: dtype, targetDtype: dtype };
		return { piece: { kind: "gather", source: "w", ...dtypes, ...places, dims }, stagingOffset };
	}
	const { dims } = randomScaledLoops(random);
	const piece = {
		kind: "dequant",
		source: "w",
		codec: random.pick(["float8_e5m2", "float4_e2m1"] as const),
		scales: "s",
		scaleCodec: random.pick(["bfloat16", "power_of_two"] as const),
		targetDtype: "float16",
		scaleOffset: 3,
		...places,
		dims,
	} as const;
	return { piece, stagingOffset, scaleStagingOffset: 60_000 + random.below(9) };
}

function targetBytesFor({ piece }: ReshardOp): number {
	const dims: readonly { size: number; targetStride: number }[] = piece.dims;
	const last = dims.reduce((sum, { size, targetStride }) => sum + (size - 1) * targetStride, 0);
	return (piece.targetOffset + last + 1) * itemBytes(piece.targetDtype);
}

describe("planBatches", () => {
	test("batches that see only what was placed for them make the same bytes, whatever the room", async () => {
		const staging = randomBytes(STAGING_BYTES, 5);
		const random = createRandom(17);
		let several = 0;
		for (let run = 0; run < 60; run++) {
			const ops = Array.from({ length: 1 + random.below(3) }, () => randomOp(random));
			const room = random.pick([16, 64, 256, 1024, 16 * 1024]);
			for (const op of ops) {
				const expected = new Uint8Array(targetBytesFor(op));
				await runOps(cpu, [op], staging, expected);
				const { batches, isWhole, tooLarge } = planBatches([op], staging.length, room);
				expect(isWhole).toBe(false);
				const made = new Uint8Array(expected.length);
				for (const batch of batches) {
					// Places that nothing was brought to are no source bytes.
					const source = randomBytes(room, 9);
					for (const { start, end, place } of batch.spans) {
						expect([start % 4, end % 4, place % 4]).toEqual([0, 0, 0]);
						expect(place + end - start).toBeLessThanOrEqual(room);
						source.set(staging.subarray(start, end), place);
					}
					await runOps(cpu, batch.ops, source, made);
				}
				await runOps(cpu, tooLarge, staging, made);
				expect(Buffer.compare(made, expected)).toBe(0);
				if (batches.length > 1) several++;
			}
			// Together they share batches.
			const together = planBatches(ops, staging.length, room);
			for (const { ops: placed, originals } of together.batches) {
				expect(placed.length).toBe(originals.length);
			}
		}
		expect(several).toBeGreaterThan(20);
	});

	test("a source of more than 2 GiB is read in pieces", () => {
		const rows = 70_000;
		const columns = 40_000;
		const op: MoveOp = {
			piece: {
				kind: "gather",
				source: "w",
				sourceDtype: "uint8",
				targetDtype: "uint8",
				sourceOffset: 0,
				targetOffset: 0,
				dims: [
					{ size: columns / 8, sourceStride: 8, targetStride: rows },
					{ size: rows, sourceStride: columns, targetStride: 1 },
				],
			},
			stagingOffset: 0,
		};
		const { batches, tooLarge } = planBatches([op], rows * columns, 256 * MiB);
		expect(tooLarge).toEqual([]);
		expect(batches).toHaveLength(16);
		for (const { ops, spans } of batches) {
			for (const { place, start, end } of spans) {
				expect(place + end - start).toBeLessThanOrEqual(256 * MiB);
			}
			for (const placed of ops) {
				for (const { end } of spansOf(placed)) expect(end).toBeLessThanOrEqual(256 * MiB);
			}
		}
	});

	test("an op that would fall into too many parts is left alone", () => {
		const dims = [{ size: 10_000, sourceStride: 6, targetStride: 1 }];
		const places = { sourceOffset: 0, targetOffset: 0, source: "w" };
		const dtypes = { sourceDtype: "uint8", targetDtype: "uint8" } as const;
		const op: MoveOp = { piece: { kind: "gather", ...places, ...dtypes, dims }, stagingOffset: 0 };
		expect(planBatches([op], 60_000, 16)).toEqual({
			batches: [],
			isWhole: false,
			tooLarge: [op],
		});
	});
});

describe("Coverage", () => {
	test("is a set of bytes", () => {
		const span = fc
			.tuple(fc.nat(40), fc.nat(12))
			.map(([start, length]) => ({ start, end: start + length }));
		fc.assert(
			fc.property(fc.array(span, { maxLength: 12 }), span, (added, asked) => {
				const coverage = new Coverage();
				const bytes = new Set<number>();
				for (const { start, end } of added) {
					coverage.add({ start, end });
					for (let i = start; i < end; i++) bytes.add(i);
				}
				const missing = coverage
					.missing(asked)
					.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
				const expected = Array.from(
					{ length: asked.end - asked.start },
					(_, i) => asked.start + i,
				).filter((byte) => !bytes.has(byte));
				expect(missing).toEqual(expected);
				coverage.clear();
				expect(coverage.missing({ start: 3, end: 4 })).toEqual([{ start: 3, end: 4 }]);
			}),
		);
	});
});

describe("poolSizes", () => {
	test("stays within what the device can bind", () => {
		const limits = { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 };
		const sizes = poolSizes({ tileBytes: 2 ** 31, windowBytes: 2 ** 30 }, limits);
		expect(sizes.sourceBytes).toBe(2 ** 27 - 64);
		expect(sizes.windowBytes).toBe(2 ** 27 - 64);
	});

	test("the memory that is promised: two slots and a window on the host, a tile and a window on the device", () => {
		const { host, device } = poolBytes({ tileBytes: 18 * MiB, windowBytes: 4 * MiB });
		expect(host).toBe(2 * 4 * MiB + 4 * MiB + MiB);
		expect(device).toBe(18 * MiB + 4 * MiB + MiB / 2);
	});
});

describe("slotLoads", () => {
	test("many small spans share a slot, a large one takes several", () => {
		const spans = [
			{ start: 0, end: 8, place: 100 },
			{ start: 20, end: 60, place: 200 },
			{ start: 64, end: 68, place: 0 },
		];
		expect(slotLoads(spans, 16)).toEqual([
			[
				{ start: 0, end: 8, slotPlace: 0, place: 100 },
				{ start: 20, end: 28, slotPlace: 8, place: 200 },
			],
			[{ start: 28, end: 44, slotPlace: 0, place: 208 }],
			[{ start: 44, end: 60, slotPlace: 0, place: 224 }],
			[{ start: 64, end: 68, slotPlace: 0, place: 0 }],
		]);
		expect(slotLoads([], 16)).toEqual([]);
	});
});

describe("createFallbackBackend", () => {
	const staging = randomBytes(1024, 3);
	const dtypes = { sourceDtype: "uint8", targetDtype: "uint8" } as const;
	const piece = { kind: "gather", source: "w", ...dtypes, sourceOffset: 0 } as const;
	const dims = [{ size: 8, sourceStride: 2, targetStride: 1 }];
	const copy: MoveOp = { piece: { ...piece, targetOffset: 0, dims }, stagingOffset: 1 };
	const fill: MoveOp = {
		piece: { kind: "fill", value: 7, targetDtype: "uint8", targetOffset: 8, dims: [] },
		stagingOffset: 0,
	};

	/** A device of which every run fails as told, or is done by the CPU. */
	function backendOn(failures: (GpuFailure | undefined)[], wants?: (op: ReshardOp) => boolean) {
		const gpu: { name: string; buffers: number; failure: GpuFailure | undefined } = {
			name: "test",
			buffers: 7,
			failure: undefined,
		};
		const given: (readonly ReshardOp[])[] = [];
		const runner: WindowRunner = {
			batches: 0,
			steadyBuffers: 0,
			forget() {},
			async run({ ops, target, staging: bytes }) {
				given.push(ops);
				const failure = failures.shift();
				if (failure?.isFinal) gpu.failure = failure;
				if (failure !== undefined) throw failure;
				await runOps(cpu, ops, bytes, target);
				return [];
			},
		};
		const troubles: string[] = [];
		const backend = createFallbackBackend({
			gpu: {
				...gpu,
				get failure() {
					return gpu.failure;
				},
				async [Symbol.asyncDispose]() {},
			},
			runner,
			cpu,
			wants,
			onTrouble: (reason) => void troubles.push(reason),
		});
		return { backend, given, troubles };
	}

	async function expectRight(backend: ReturnType<typeof backendOn>["backend"]): Promise<void> {
		const expected = new Uint8Array(9);
		await runOps(cpu, [copy, fill], staging, expected);
		const made = new Uint8Array(9);
		await runOps(backend, [copy, fill], staging, made);
		expect(made).toEqual(expected);
	}

	test("the device gets what it has kernels for, the CPU the rest", async () => {
		const { backend, given, troubles } = backendOn([]);
		await expectRight(backend);
		expect(given).toEqual([[copy]]);
		expect(troubles).toEqual([]);
	});

	test("what is not wanted on the device is the CPU's alone", async () => {
		const { backend, given } = backendOn([], () => false);
		await expectRight(backend);
		expect(given).toEqual([]);
	});

	test.each(["lost", "hung", "stale"] as const)("%s: never again", async (kind) => {
		const { backend, given, troubles } = backendOn([undefined, new GpuFailure(kind, "gone")]);
		for (let i = 0; i < 4; i++) await expectRight(backend);
		expect(given).toHaveLength(2);
		expect(backend.gpu).toMatchObject({ redone: 1, reasons: troubles });
		expect(troubles).toEqual(["gone; the CPU does everything from here on"]);
	});

	test.each(["out-of-memory", "invalid"] as const)("%s: not for such ops", async (kind) => {
		const { backend, given, troubles } = backendOn([new GpuFailure(kind, "no")]);
		for (let i = 0; i < 3; i++) await expectRight(backend);
		expect(given).toHaveLength(1);
		expect(troubles).toEqual(["no; the CPU does copies from here on"]);
		const cast = {
			...copy,
			piece: { ...copy.piece, sourceDtype: "bfloat16", targetDtype: "float32" },
		};
		await runOps(backend, [cast as MoveOp], staging, new Uint8Array(32));
		expect(given).toHaveLength(2);
	});
});
