import { dequantRun, elementBytes, RUN_SCRATCH, targetBytes } from "./formats";
import { loadScale } from "./scale";
import { transposePlane } from "./transpose";

/**
 * Quantised weights. A format is a pair of codec and dtype by its number in `formats.ts`. Names that end in `T`, `S` and `K` are
 * strides of target, source and scales, in bytes.
 */

/** `planes × rows` runs of `count` elements that are contiguous on both sides, each run under one scale. */
export function dequantPlanes(
	format: u32,
	scaleCodec: u32,
	target: usize,
	source: usize,
	scales: usize,
	count: usize,
	planes: usize,
	planeT: usize,
	planeS: usize,
	planeK: usize,
	rows: usize,
	rowT: usize,
	rowS: usize,
	rowK: usize,
	scratch: usize,
): void {
	for (let plane: usize = 0; plane < planes; plane++) {
		let t = target;
		let s = source;
		let k = scales;
		for (let row: usize = 0; row < rows; row++) {
			dequantRun(format, t, s, count, loadScale(scaleCodec, k), scratch);
			t += rowT;
			s += rowS;
			k += rowK;
		}
		target += planeT;
		source += planeS;
		scales += planeK;
	}
}

/** Rows of the target that are made at once: as half bytes, a cache line of the source. */
const TILE_ROWS: usize = 128;

/** Bytes of a row of the target that are made at once: a cache line. */
const TILE_LINE: usize = 64;

/**
 * Transposes while it dequantises: `rows` of the target are neighbours in the source, `runRows` of them under one scale and the
 * next ones under the scale `runK` further on; `columns` are neighbours in the target. A tile is made in scratch memory as the source
 * has it, then transposed.
 */
export function dequantTransposed(
	format: u32,
	scaleCodec: u32,
	target: usize,
	source: usize,
	scales: usize,
	rows: usize,
	rowT: usize,
	runRows: usize,
	runK: usize,
	columns: usize,
	columnS: usize,
	columnK: usize,
	scratch: usize,
): void {
	const width = targetBytes(format);
	const tile = scratch + RUN_SCRATCH;
	const tileColumn = TILE_ROWS * width;
	const tileColumns = TILE_LINE / width;
	const block = tile + tileColumns * tileColumn;
	for (let row: usize = 0; row < rows; row += TILE_ROWS) {
		const height = min(TILE_ROWS, rows - row);
		for (let column: usize = 0; column < columns; column += tileColumns) {
			const count = min(tileColumns, columns - column);
			for (let i: usize = 0; i < count; i++) {
				const t = tile + i * tileColumn;
				const s = source + (column + i) * columnS;
				const k = scales + (column + i) * columnK;
				dequantRuns(format, scaleCodec, t, s, k, row, height, runRows, runK, scratch);
			}
			const t = target + row * rowT + column * width;
			if (width === 2) transposePlane<u16, u16>(t, tile, height, rowT, count, tileColumn, block);
			else transposePlane<u32, u32>(t, tile, height, rowT, count, tileColumn, block);
		}
	}
}

/** The elements `[first, first + count)` of runs that are neighbours in the source. */
function dequantRuns(
	format: u32,
	scaleCodec: u32,
	target: usize,
	source: usize,
	scales: usize,
	first: usize,
	count: usize,
	run: usize,
	runK: usize,
	scratch: usize,
): void {
	const end = first + count;
	for (let at = first; at < end;) {
		const index = at / run;
		const next = min(end, (index + 1) * run);
		const t = target + (at - first) * targetBytes(format);
		const scale = loadScale(scaleCodec, scales + index * runK);
		dequantRun(format, t, source + elementBytes(format, at), next - at, scale, scratch);
		at = next;
	}
}
