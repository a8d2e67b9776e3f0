import { runOf } from "./dequant-run";

/**
 * Pairs of codec and dtype by number, as `DEQUANT_FORMATS` of `../kernels.ts` has them: three times the codec, then the dtype.
 */

/** Bytes of scratch memory that {@link dequantRun} needs. */
export const RUN_SCRATCH: usize = 256;

/** Bytes of one target element. */
export function targetBytes(format: u32): usize {
	return format % 3 === 0 ? 4 : 2;
}

/** Bytes that `count` source elements take. */
export function elementBytes(format: u32, count: usize): usize {
	return format < 6 ? count : (count + 1) / 2;
}

/** A run of elements that are contiguous on both sides, under one scale. Half bytes begin with the lower half. */
export function dequantRun(
	format: u32,
	target: usize,
	source: usize,
	count: usize,
	scale: f32,
	scratch: usize,
): void {
	switch (format) {
		case 0:
			return runOf<u8, f32>(target, source, count, scale, scratch);
		case 1:
			return runOf<u8, u16>(target, source, count, scale, scratch);
		case 2:
			return runOf<u8, i16>(target, source, count, scale, scratch);
		case 3:
			return runOf<i8, f32>(target, source, count, scale, scratch);
		case 4:
			return runOf<i8, u16>(target, source, count, scale, scratch);
		case 5:
			return runOf<i8, i16>(target, source, count, scale, scratch);
		case 6:
			return runOf<bool, f32>(target, source, count, scale, scratch);
		case 7:
			return runOf<bool, u16>(target, source, count, scale, scratch);
		case 8:
			return runOf<bool, i16>(target, source, count, scale, scratch);
		default:
			unreachable();
	}
}
