import { invariant } from "../../core/errors.ts";
import { at } from "../../core/shape.ts";
import type { PlacedSpan } from "./batches.ts";
import type { Gpu } from "./gpu.ts";
import { type GpuPools, mapForWriting } from "./pools.ts";

/** Brings staging bytes into the device's source buffer. */
export interface Uploader {
	/**
	 * Starts to copy bytes. Commands that are submitted after it has resolved see them, unless one of the returned promises rejects:
	 * wait for these before using what was made of the bytes.
	 *
	 * @throws {GpuFailure}
	 */
	upload(staging: Uint8Array, spans: readonly PlacedSpan[]): Promise<readonly Promise<void>[]>;
}

/** Bytes of the staging memory, their place in the slot, and their place in the source buffer. */
interface Copy {
	readonly start: number;
	readonly end: number;
	readonly slotPlace: number;
	readonly place: number;
}

/** An uploader that goes round the slots of `pools`. Many small spans share a slot and a submission. */
export function createUploader(gpu: Gpu, pools: GpuPools): Uploader {
	const { slots, source } = pools;
	let turn = 0;

	/** Uploads a slot's worth. Adds to `checks`, so as not to wait for what is told later. */
	async function flush(
		staging: Uint8Array,
		copies: readonly Copy[],
		checks: Promise<void>[],
	): Promise<void> {
		const slot = at(slots, turn);
		turn = (turn + 1) % slots.length;
		await gpu.watch(slot.ready);
		const checked = gpu.guard(() => {
			const mapped = new Uint8Array(slot.buffer.getMappedRange());
			for (const { start, end, slotPlace } of copies) {
				mapped.set(staging.subarray(start, end), slotPlace);
			}
			slot.buffer.unmap();
			const encoder = gpu.device.createCommandEncoder();
			for (const { start, end, slotPlace, place } of copies) {
				encoder.copyBufferToBuffer(slot.buffer, slotPlace, source, place, end - start);
			}
			gpu.device.queue.submit([encoder.finish()]);
			slot.ready = mapForWriting(slot.buffer);
		});
		checked.catch(() => {});
		checks.push(checked);
	}

	return {
		async upload(staging, spans) {
			const checks: Promise<void>[] = [];
			for (const copies of slotLoads(spans, pools.sizes.slotBytes)) {
				await flush(staging, copies, checks);
			}
			return checks;
		},
	};
}

/** Divides spans into what fits into one slot each. */
export function slotLoads(spans: readonly PlacedSpan[], slotBytes: number): readonly Copy[][] {
	const loads: Copy[][] = [];
	let used = slotBytes;
	for (const { start, end, place } of spans) {
		const isAligned = [start, end, place].every((value) => value % 4 === 0);
		invariant(isAligned, "device memory is copied in words");
		for (let from = start; from < end;) {
			if (used === slotBytes) {
				loads.push([]);
				used = 0;
			}
			const to = Math.min(end, from + slotBytes - used);
			loads.at(-1)?.push({ start: from, end: to, slotPlace: used, place: place + from - start });
			used += to - from;
			from = to;
		}
	}
	return loads;
}
