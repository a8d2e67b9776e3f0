/**
 * What the module exports. A conversion is named by its number in `CONVERSIONS` of `../kernels.ts`; the numbers behind those
 * stand for elements of 1, 2, 4 and 8 bytes that keep their bits.
 */

import { castPlanes } from "./cast";
import { transposePlane } from "./transpose";

export { copyRuns } from "./copy";
export { dequantPlanes, dequantTransposed } from "./dequant";

/** {@link castPlanes} for one conversion. */
export function castRuns(
	conversion: u32,
	target: usize,
	source: usize,
	count: usize,
	planes: usize,
	planeT: usize,
	planeS: usize,
	rows: usize,
	rowT: usize,
	rowS: usize,
	scratch: usize,
): void {
	switch (conversion) {
		case 0:
			castPlanes<u16, f32>(
				target,
				source,
				count,
				planes,
				planeT,
				planeS,
				rows,
				rowT,
				rowS,
				scratch,
			);
			return;
		case 1:
			castPlanes<f32, u16>(
				target,
				source,
				count,
				planes,
				planeT,
				planeS,
				rows,
				rowT,
				rowS,
				scratch,
			);
			return;
		case 2:
			castPlanes<i16, f32>(
				target,
				source,
				count,
				planes,
				planeT,
				planeS,
				rows,
				rowT,
				rowS,
				scratch,
			);
			return;
		case 3:
			castPlanes<f32, i16>(
				target,
				source,
				count,
				planes,
				planeT,
				planeS,
				rows,
				rowT,
				rowS,
				scratch,
			);
			return;
		case 4:
			castPlanes<u16, i16>(
				target,
				source,
				count,
				planes,
				planeT,
				planeS,
				rows,
				rowT,
				rowS,
				scratch,
			);
			return;
		case 5:
			castPlanes<i16, u16>(
				target,
				source,
				count,
				planes,
				planeT,
				planeS,
				rows,
				rowT,
				rowS,
				scratch,
			);
			return;
		default:
			unreachable();
	}
}

/** {@link transposePlane} for one conversion or one size of elements. */
export function transpose(
	conversion: u32,
	target: usize,
	source: usize,
	rows: usize,
	rowT: usize,
	columns: usize,
	columnS: usize,
	scratch: usize,
): void {
	switch (conversion) {
		case 0:
			transposePlane<u16, f32>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 1:
			transposePlane<f32, u16>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 2:
			transposePlane<i16, f32>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 3:
			transposePlane<f32, i16>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 4:
			transposePlane<u16, i16>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 5:
			transposePlane<i16, u16>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 6:
			transposePlane<u8, u8>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 7:
			transposePlane<u16, u16>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 8:
			transposePlane<u32, u32>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		case 9:
			transposePlane<u64, u64>(target, source, rows, rowT, columns, columnS, scratch);
			return;
		default:
			unreachable();
	}
}
