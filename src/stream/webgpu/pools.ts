import { JOB_WORDS } from "./job-table.ts";
import { asGpuFailure } from "./gpu-failure.ts";
import { type Gpu, MAP, USAGE } from "./gpu.ts";

const MiB = 2 ** 20;

/** What a batch can be at most. Larger tiles are worked off in pieces. */
export interface GpuSizes {
	/** Of the staging memory that a batch reads, bytes. @default 64 MiB */
	readonly tileBytes?: number | undefined;
	/** Of the window that it makes, bytes. @default 4 MiB */
	readonly windowBytes?: number | undefined;
}

/** The sizes of the fixed buffers, bytes. */
export interface PoolSizes {
	readonly sourceBytes: number;
	readonly windowBytes: number;
	readonly slotBytes: number;
}

/** What a batch can be when nothing is asked for. Bytes of staging memory. */
export const DEFAULT_TILE_BYTES: number = 64 * MiB;

/** As large as write buffers get. */
export const DEFAULT_WINDOW_BYTES: number = 4 * MiB;

/** Uploads go in steps of this: while one is copied by the device, the next is filled. */
const SLOT_BYTES = 4 * MiB;
const SLOTS = 2;

/** Kernels read whole words, and the one behind the last. */
const PADDING_BYTES = 16;

/** Behind a window comes the number of its batch. */
const STAMP_BYTES = 4;

/** Jobs in one batch. What is more is left to the CPU. */
export const MAX_JOBS = 4096;

/** Dispatches in one batch: one per kernel. */
const MAX_DISPATCHES = 8;

/** Distance of the parameters of dispatches: what every device takes for a dynamic offset. */
export const PARAM_STRIDE = 256;

/** A buffer that the processor writes to and the device copies from. */
export interface StagingSlot {
	readonly buffer: GPUBuffer;
	/** Resolves when the device has copied what was written last; its memory is mapped then. */
	ready: Promise<unknown>;
}

/** Everything of a device's memory that a run uses, created once. */
export interface GpuPools {
	readonly sizes: PoolSizes;
	readonly slots: readonly StagingSlot[];
	/** Staged source bytes. */
	readonly source: GPUBuffer;
	/** The window that is made. */
	readonly target: GPUBuffer;
	readonly table: GPUBuffer;
	/** In front the batch's number, then the parameters of its dispatches, {@link PARAM_STRIDE} apart. */
	readonly params: GPUBuffer;
	/** A finished window and the number of its batch. */
	readonly readback: GPUBuffer;
}

/** The sizes of the buffers for batches of `wanted`, as far as the device can hold them. */
export function poolSizes(wanted: GpuSizes, limits: Readonly<Record<string, number>>): PoolSizes {
	const { maxBufferSize = Infinity, maxStorageBufferBindingSize = Infinity } = limits;
	const room = Math.min(maxBufferSize, maxStorageBufferBindingSize) - 2 * PADDING_BYTES;
	const { tileBytes = DEFAULT_TILE_BYTES, windowBytes: wantedWindow = DEFAULT_WINDOW_BYTES } =
		wanted;
	const sourceBytes = Math.min(roundUp(tileBytes), roundDown(room));
	const windowBytes = Math.min(roundUp(wantedWindow), roundDown(room));
	return { sourceBytes, windowBytes, slotBytes: Math.min(SLOT_BYTES, sourceBytes) };
}

/** As blocks of staging memory are. */
const SIZE_UNIT_BYTES = 64;

function roundUp(bytes: number): number {
	return Math.ceil(bytes / SIZE_UNIT_BYTES) * SIZE_UNIT_BYTES;
}

function roundDown(bytes: number): number {
	return Math.floor(bytes / SIZE_UNIT_BYTES) * SIZE_UNIT_BYTES;
}

/**
 * Memory that a GPU takes beyond the budget of the stream. A driver that plays a GPU takes both from the machine.
 *
 * @returns bytes of the machine's memory, and of the device's own.
 */
export function poolBytes(sizes: GpuSizes): { readonly host: number; readonly device: number } {
	const { sourceBytes, windowBytes, slotBytes } = poolSizes(sizes, {});
	const tableBytes = MAX_JOBS * JOB_WORDS * 4;
	// The table is kept once by us, and once more on its way by the package.
	const host = SLOTS * slotBytes + windowBytes + 2 * tableBytes;
	return { host, device: sourceBytes + windowBytes + tableBytes };
}

/**
 * Creates all the buffers of a device.
 *
 * @throws {GpuFailure} when its memory does not suffice.
 */
export async function createPools(gpu: Gpu, wanted: GpuSizes): Promise<GpuPools> {
	const sizes = poolSizes(wanted, gpu.limits);
	const { mapRead, mapWrite, copySource, copyTarget, uniform, storage } = USAGE;
	const create = (label: string, size: number, usage: number): GPUBuffer =>
		gpu.createBuffer({ label, size, usage });
	const made: Partial<Record<"source" | "target" | "table" | "params" | "readback", GPUBuffer>> =
		{};
	const slotBuffers: GPUBuffer[] = [];
	await gpu.guard(() => {
		for (let i = 0; i < SLOTS; i++) {
			slotBuffers.push(create("staging", sizes.slotBytes, mapWrite | copySource));
		}
		made.source = create("source", sizes.sourceBytes + PADDING_BYTES, storage | copyTarget);
		made.target = create("target", sizes.windowBytes, storage | copySource | copyTarget);
		made.table = create("table", MAX_JOBS * JOB_WORDS * 4, storage | copyTarget);
		made.params = create(
			"params",
			(1 + MAX_DISPATCHES) * PARAM_STRIDE,
			uniform | copySource | copyTarget,
		);
		made.readback = create("readback", sizes.windowBytes + STAMP_BYTES, mapRead | copyTarget);
	});
	const { source, target, table, params, readback } = made;
	if (!source || !target || !table || !params || !readback) throw asGpuFailure("no buffers");
	const slots = slotBuffers.map((buffer) => ({ buffer, ready: mapForWriting(buffer) }));
	return { sizes, slots, source, target, table, params, readback };
}

/** Begins to map a slot. Whoever wants to write waits for it; that it fails is told there. */
export function mapForWriting(buffer: GPUBuffer): Promise<unknown> {
	const ready = buffer.mapAsync(MAP.write);
	ready.catch(() => {});
	return ready;
}
