import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HfStreamDcpError } from "../../src/core/errors.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { MoveOp, ReshardBackend, ReshardOp } from "../../src/core/ports.ts";
import { createCpuBackend } from "../../src/stream/cpu/backend.ts";
import {
	createFallbackBackend,
	createWebgpuBackend,
	type WebgpuBackend,
} from "../../src/stream/webgpu/create-webgpu-backend.ts";
import type { Gpu } from "../../src/stream/webgpu/gpu.ts";
import { openGpu } from "../../src/stream/webgpu/open-device.ts";
import { probeGpu } from "../../src/stream/webgpu/probe.ts";
import { selfTest } from "../../src/stream/webgpu/self-test.ts";
import { createWindowRunner, type WindowRunner } from "../../src/stream/webgpu/window-runner.ts";
import { randomLoops, randomScaledLoops } from "../support/kernel-cases.ts";
import { createRandom, type Random, randomBytes } from "../support/random.ts";
import { runOps } from "../support/run-ops.ts";
import { findSoftwareGpu } from "../support/software-gpu.ts";

const search = findSoftwareGpu();
const why = "skip" in search ? `: ${search.skip}` : "";

const KiB = 1024;
const SEED = 3;
const cpu = createCpuBackend();

/** What the target holds where no op writes. */
const UNTOUCHED = 0x5a;

function transpose(rows: number, columns: number, stagingOffset = 0): MoveOp {
	const dims = [
		{ size: columns, sourceStride: 1, targetStride: rows },
		{ size: rows, sourceStride: columns, targetStride: 1 },
	];
	const dtypes = { sourceDtype: "bfloat16", targetDtype: "bfloat16" } as const;
	const offsets = { sourceOffset: 0, targetOffset: 0 };
	return { piece: { kind: "gather", source: "w", ...dtypes, ...offsets, dims }, stagingOffset };
}

function randomOp(random: Random, stagingBytes: number): ReshardOp {
	const targetOffset = random.below(5);
	if (random.below(2) === 0) {
		const sourceDtype = random.pick(["uint8", "bfloat16", "float32", "int64"] as const);
		const { dims } = randomLoops(random, random.below(4), 3000);
		const targetDtype = sourceDtype === "float32" ? "bfloat16" : sourceDtype;
		const offsets = { sourceOffset: 0, targetOffset };
		const piece = {
			kind: "gather",
			source: "w",
			sourceDtype,
			targetDtype,
			...offsets,
			dims,
		} as const;
		return { piece, stagingOffset: random.below(stagingBytes / 4) };
	}
	const { dims } = randomScaledLoops(random);
	const piece = {
		kind: "dequant",
		source: "w",
		codec: random.pick(["float8_e4m3fn", "float4_e2m1"] as const),
		scales: "s",
		scaleCodec: random.pick(["float32", "power_of_two"] as const),
		targetDtype: "bfloat16",
		sourceOffset: random.below(2),
		scaleOffset: 0,
		targetOffset,
		dims,
	} as const;
	const scaleStagingOffset = stagingBytes - 4 * KiB + random.below(4);
	return { piece, stagingOffset: random.below(stagingBytes / 4), scaleStagingOffset };
}

function targetBytesFor({ piece }: ReshardOp): number {
	const dims: readonly { size: number; targetStride: number }[] = piece.dims;
	const last = dims.reduce((sum, { size, targetStride }) => sum + (size - 1) * targetStride, 0);
	return (piece.targetOffset + last + 1) * itemBytes(piece.targetDtype);
}

/** Runs an op on a back end and on the CPU's, and compares everything, also what no op writes. */
async function expectSame(
	backend: ReshardBackend,
	op: ReshardOp,
	staging: Uint8Array,
): Promise<void> {
	const bytes = targetBytesFor(op) + 3;
	const expected = new Uint8Array(bytes).fill(UNTOUCHED);
	await runOps(cpu, [op], staging, expected);
	const made = new Uint8Array(bytes).fill(UNTOUCHED);
	await runOps(backend, [op], staging, made);
	expect(Buffer.compare(made, expected)).toBe(0);
}

interface Rig extends AsyncDisposable {
	readonly gpu: Gpu;
	readonly runner: WindowRunner;
	readonly backend: WebgpuBackend;
	readonly troubles: readonly string[];
}

async function openRig(sizes = { tileBytes: 64 * KiB, windowBytes: 64 * KiB }): Promise<Rig> {
	const gpu = await openGpu();
	const runner = await createWindowRunner(gpu, sizes);
	const troubles: string[] = [];
	const onTrouble = (reason: string): void => void troubles.push(reason);
	const backend = createFallbackBackend({ gpu, runner, cpu: createCpuBackend(), onTrouble });
	return {
		gpu,
		runner,
		backend,
		troubles,
		[Symbol.asyncDispose]: async () => await backend[Symbol.asyncDispose](),
	};
}

describe.skipIf("skip" in search)(`the WebGPU back end${why}`, () => {
	let rig: Rig;
	const staging = randomBytes(48 * KiB, SEED);

	beforeAll(async () => {
		rig = await openRig();
	});

	afterAll(async () => {
		await rig[Symbol.asyncDispose]();
	});

	test("passes its self-test, and says what it is", async () => {
		expect(await selfTest(rig.gpu)).toSatisfy((all: { ok: boolean }[]) =>
			all.every(({ ok }) => ok),
		);
		await using backend = await createWebgpuBackend({
			onTrouble: () => {},
			tileBytes: 1,
			windowBytes: 1,
		});
		expect(backend.name).toMatch(/^webgpu \(.*swiftshader/i);
		expect(backend.gpu).toMatchObject({ batches: 0, redone: 0, reasons: [], steadyBuffers: 0 });
		const facts = await probeGpu({ testsSoftware: true });
		expect(facts).toMatchObject({ isSoftware: true, selfTest: undefined });
	});

	test("random ops, with gaps in the target, as on the CPU; each is a batch of its own", async () => {
		const random = createRandom(7);
		const { batches } = rig.backend.gpu;
		for (let i = 0; i < 40; i++) {
			await expectSame(rig.backend, randomOp(random, staging.length), staging);
		}
		expect(rig.backend.gpu.batches - batches).toBe(40);
		expect(rig.troubles).toEqual([]);
	});

	test("a window of many ops of all kinds is one batch", async () => {
		const random = createRandom(11);
		let bytes = 0;
		const ops = Array.from({ length: 30 }, (_, i): ReshardOp => {
			const op = randomOp(random, staging.length);
			const width = itemBytes(op.piece.targetDtype);
			const targetOffset = Math.ceil(bytes / width);
			const piece = { ...op.piece, targetOffset };
			const moved = { ...op, piece } as ReshardOp;
			bytes = targetBytesFor(moved);
			if (i % 10 !== 0) return moved;
			bytes += 1;
			const fill = { kind: "fill", value: 1, targetDtype: "uint8", dims: [] } as const;
			return { piece: { ...fill, targetOffset: bytes - 1 }, stagingOffset: 0 };
		});
		const { batches } = rig.backend.gpu;
		const expected = new Uint8Array(bytes).fill(UNTOUCHED);
		await runOps(cpu, ops, staging, expected);
		const made = new Uint8Array(bytes).fill(UNTOUCHED);
		await runOps(rig.backend, ops, staging, made);
		expect(Buffer.compare(made, expected)).toBe(0);
		expect(rig.backend.gpu.batches - batches).toBe(1);
	});

	test("the bytes of a tile are uploaded once, and not used for the next one", async () => {
		const op = transpose(64, 64);
		const target = new Uint8Array(64 * 64 * 2);
		const own = Uint8Array.from(staging);
		const submits = countSubmits(rig.gpu);
		{
			await using loaded = await rig.backend.load(own);
			await loaded.run([op], target);
			const first = submits();
			await loaded.run([op], target);
			expect([first, submits()]).toEqual([2, 1]);
		}
		own.set(randomBytes(48 * KiB, SEED + 1));
		await expectSame(rig.backend, op, own);
		expect(submits()).toBe(2);
	});

	test("tiles larger than the device's buffers are worked off in pieces", async () => {
		await using small = await openRig({ tileBytes: 2 * KiB, windowBytes: 64 * KiB });
		const random = createRandom(13);
		for (let i = 0; i < 12; i++) {
			await expectSame(small.backend, randomOp(random, staging.length), staging);
		}
		const { batches } = small.backend.gpu;
		await expectSame(small.backend, transpose(100, 120), staging);
		expect(small.backend.gpu.batches - batches).toBe(16);
		expect(small.troubles).toEqual([]);
	});

	test("windows larger than the device's buffers are the CPU's", async () => {
		const large = transpose(256, 192);
		const { batches } = rig.backend.gpu;
		await expectSame(rig.backend, large, randomBytes(2 * 256 * 192, SEED));
		expect(rig.backend.gpu.batches).toBe(batches);
	});

	test("no buffer is created after the first batch", async () => {
		for (let i = 0; i < 20; i++) await expectSame(rig.backend, transpose(30, 40 + i), staging);
		expect(rig.backend.gpu).toMatchObject({ buffers: 7 + 7, steadyBuffers: 0 });
	});
});

/** Counts submissions; each call tells how many there were since the one before. */
function countSubmits({ device }: Gpu): () => number {
	const { queue } = device;
	const submit = queue.submit.bind(queue);
	let count = 0;
	queue.submit = (buffers) => {
		count++;
		return submit(buffers);
	};
	return () => {
		const seen = count;
		count = 0;
		return seen;
	};
}

describe.skipIf("skip" in search)(`a GPU that fails${why}`, () => {
	const staging = randomBytes(48 * KiB, SEED);
	const op = transpose(96, 96);
	const cast = { ...op, piece: { ...op.piece, targetDtype: "float32" } } as MoveOp;

	/** Does something at the next submission. */
	function atNextSubmit({ device }: Gpu, act: (submit: () => void) => void): void {
		const { queue } = device;
		const submit = queue.submit.bind(queue);
		queue.submit = (buffers) => {
			queue.submit = submit;
			act(() => submit(buffers));
		};
	}

	test("destroyed in mid-batch: the window is made on the CPU, and everything after it", async () => {
		await using rig = await openRig();
		await expectSame(rig.backend, op, staging);
		atNextSubmit(rig.gpu, (submit) => {
			submit();
			rig.gpu.device.destroy();
		});
		await expectSame(rig.backend, op, Uint8Array.from(staging));
		await expectSame(rig.backend, cast, staging);
		expect(rig.backend.gpu.redone).toBe(1);
		expect(rig.troubles).toEqual([
			expect.stringMatching(
				/^the GPU was lost \(destroyed\).*; the CPU does everything from here on$/,
			),
		]);
	});

	test("lost between two batches: the next window says so", async () => {
		await using rig = await openRig();
		await expectSame(rig.backend, op, staging);
		rig.gpu.device.destroy();
		await rig.gpu.device.lost;
		await expectSame(rig.backend, op, staging);
		await expectSame(rig.backend, op, staging);
		expect(rig.backend.gpu).toMatchObject({ batches: 1, redone: 0, reasons: rig.troubles });
		expect(rig.troubles).toEqual([expect.stringMatching(/^the GPU was lost \(destroyed\)/)]);
	});

	test("out of memory: these ops are the CPU's from then on, the others are not", async () => {
		await using rig = await openRig();
		await expectSame(rig.backend, op, staging);
		atNextSubmit(rig.gpu, (submit) => {
			rig.gpu.device.createBuffer({ size: 2 ** 30, usage: 0x80 });
			submit();
		});
		await expectSame(rig.backend, op, staging);
		const { batches } = rig.backend.gpu;
		await expectSame(rig.backend, op, staging);
		expect(rig.backend.gpu.batches).toBe(batches);
		await expectSame(rig.backend, cast, staging);
		expect(rig.backend.gpu.batches).toBe(batches + 1);
		expect(rig.backend.gpu.redone).toBe(1);
		expect(rig.troubles).toEqual([expect.stringMatching(/; the CPU does copies from here on$/)]);
	});

	test("commands that the device refuses: the same", async () => {
		await using rig = await openRig();
		atNextSubmit(rig.gpu, (submit) => {
			rig.gpu.device.createBuffer({ size: 16, usage: 0x3 });
			submit();
		});
		await expectSame(rig.backend, op, staging);
		expect(rig.backend.gpu.reasons).toHaveLength(1);
		expect(rig.gpu.failure).toBeUndefined();
	});

	test("a submission that is dropped without an error: what is read back is known to be old", async () => {
		await using rig = await openRig();
		await expectSame(rig.backend, op, staging);
		const other = Uint8Array.from(staging).toReversed();
		await using loaded = await rig.backend.load(other);
		await loaded.run([op], new Uint8Array(96 * 96 * 2));
		atNextSubmit(rig.gpu, () => {});
		const made = new Uint8Array(96 * 96 * 2);
		await loaded.run([op], made);
		const expected = new Uint8Array(made.length);
		await runOps(cpu, [op], other, expected);
		expect(Buffer.compare(made, expected)).toBe(0);
		expect(rig.troubles).toEqual([
			expect.stringMatching(/^batch 3 was asked for, and 2 came; the CPU does everything/),
		]);
	});

	test("a device that does not answer is given up after the time limit", async () => {
		const gpu = await openGpu({ timeoutMs: 1500 });
		const runner = await createWindowRunner(gpu, { tileBytes: 64 * KiB, windowBytes: 64 * KiB });
		const troubles: string[] = [];
		const onTrouble = (reason: string): void => void troubles.push(reason);
		await using backend = createFallbackBackend({
			gpu,
			runner,
			cpu: createCpuBackend(),
			onTrouble,
		});
		gpu.device.popErrorScope = async () => await new Promise(() => {});
		await expectSame(backend, op, staging);
		expect(troubles).toEqual([
			"the GPU did not answer for 1.5 s; the CPU does everything from here on",
		]);
	});

	test("an error outside of any batch ends the use of the device", async () => {
		await using rig = await openRig();
		rig.gpu.device.createBuffer({ size: 16, usage: 0x3 });
		// The device tells it when it is asked for something.
		await expectSame(rig.backend, op, staging);
		expect(rig.gpu.failure?.message).toMatch(/^the GPU failed outside of a batch: /);
		const { batches } = rig.backend.gpu;
		await expectSame(rig.backend, op, staging);
		expect(rig.backend.gpu.batches).toBe(batches);
	});

	test("a kernel that gives one wrong bit: refused by name, before anything is made with it", async () => {
		await using rig = await openRig();
		const buffer = rig.gpu.device.createBuffer({ size: 16, usage: 0x1 });
		const prototype = Object.getPrototypeOf(buffer) as GPUBuffer;
		const getMappedRange: GPUBuffer["getMappedRange"] = Reflect.get(prototype, "getMappedRange");
		let windows = 0;
		prototype.getMappedRange = function spoiled(this: GPUBuffer, ...range) {
			const memory = Reflect.apply(getMappedRange, this, range);
			if ((this.usage & 0x1) !== 0 && ++windows === 4) new Uint8Array(memory)[77]! ^= 4;
			return memory;
		};
		try {
			const opened = createWebgpuBackend({ onTrouble: () => {} });
			await expect(opened).rejects.toMatchObject({
				code: "DEVICE_UNAVAILABLE",
				message: expect.stringMatching(/swiftshader.* fails its self-test: cast16 \(byte 77 of /i),
			});
			windows = 0;
			const facts = await probeGpu({ testsSoftware: true });
			expect(facts.selfTest).toMatch(/^cast16 \(byte 77 of \d+ is \d+ and not \d+\)$/);
		} finally {
			prototype.getMappedRange = getMappedRange;
		}
	});

	test("a device without room for the buffers: refused, not used half", async () => {
		await using rig = await openRig();
		const prototype = Object.getPrototypeOf(rig.gpu.device) as GPUDevice;
		const createBuffer: GPUDevice["createBuffer"] = Reflect.get(prototype, "createBuffer");
		prototype.createBuffer = function greedy(this: GPUDevice, descriptor) {
			const size = descriptor.label === "source" ? 2 ** 30 : descriptor.size;
			return Reflect.apply(createBuffer, this, [{ ...descriptor, size }]);
		};
		try {
			await expect(createWebgpuBackend({ onTrouble: () => {} })).rejects.toMatchObject({
				code: "DEVICE_UNAVAILABLE",
				message: expect.stringMatching(/ cannot be used: .*memory/i),
			});
		} finally {
			prototype.createBuffer = createBuffer;
		}
	});

	test("an adapter that is not there", async () => {
		const failure = await openGpu({ adapter: "no such device" }).catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(HfStreamDcpError);
		expect(failure).toMatchObject({ code: "DEVICE_UNAVAILABLE", facts: { step: "adapter" } });
	});
});
