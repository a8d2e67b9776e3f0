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

/** An uploader that goes round the slots of `pools`. */
export function createUploader(gpu: Gpu, pools: GpuPools): Uploader {
	const { slots, source, sizes } = pools;
	let turn = 0;

	/** One slot's worth of bytes. Adds to `checks`, so as not to wait for what is told later. */
	async function step(
		staging: Uint8Array,
		span: PlacedSpan,
		checks: Promise<void>[],
	): Promise<void> {
		const slot = at(slots, turn);
		turn = (turn + 1) % slots.length;
		await gpu.watch(slot.ready);
		const bytes = staging.subarray(span.start, span.end);
		const size = span.end - span.start;
		const checked = gpu.guard(() => {
			new Uint8Array(slot.buffer.getMappedRange(0, size)).set(bytes);
			slot.buffer.unmap();
			const encoder = gpu.device.createCommandEncoder();
			encoder.copyBufferToBuffer(slot.buffer, 0, source, span.place, size);
			gpu.device.queue.submit([encoder.finish()]);
			slot.ready = mapForWriting(slot.buffer);
		});
		checked.catch(() => {});
		checks.push(checked);
	}

	return {
		async upload(staging, spans) {
			const checks: Promise<void>[] = [];
			for (const { start, end, place } of spans) {
				const isAligned = [start, end, place].every((value) => value % 4 === 0);
				invariant(isAligned, "device memory is copied in words");
				for (let from = start; from < end; from += sizes.slotBytes) {
					const to = Math.min(end, from + sizes.slotBytes);
					const span = { start: from, end: to, place: place + from - start };
					await step(staging, span, checks);
				}
			}
			return checks;
		},
	};
}
