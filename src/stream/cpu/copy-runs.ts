import type { PieceDim } from "../../core/ports.ts";
import { commonUnit, type Elements, leadOf, viewAs } from "./elements.ts";
import { forEachPlane, type Loops } from "./loops.ts";

/**
 * Runs shorter than this are moved unit by unit; longer ones by `Uint8Array.set`, whose cost per call is that of a view.
 * Measured on Node 20.20: both 2.7 GB/s at 128 bytes; below it a run of `set` falls with its length, above it rises to 18.
 */
const SHORT_RUN_BYTES = 128;

/**
 * Copies runs that are contiguous on both sides.
 *
 * @param loops - In bytes; `columns` has strides of 1.
 * @param from - Byte offset in `source` of the first run.
 * @param to - Byte offset in `target` of the first run.
 */
export function copyRuns(
	loops: Loops,
	source: Uint8Array,
	from: number,
	target: Uint8Array,
	to: number,
): void {
	if (loops.columns.size < SHORT_RUN_BYTES) copyShortRuns(loops, source, from, target, to);
	else copyLongRuns(loops, source, from, target, to);
}

function copyLongRuns(
	loops: Loops,
	source: Uint8Array,
	from: number,
	target: Uint8Array,
	to: number,
): void {
	const { rows } = loops;
	forEachPlane(loops, from, to, (start, targetStart, runBytes) => {
		let s = start;
		let t = targetStart;
		for (let row = 0; row < rows.size; row++) {
			target.set(source.subarray(s, s + runBytes), t);
			s += rows.sourceStride;
			t += rows.targetStride;
		}
	});
}

function copyShortRuns(
	loops: Loops,
	source: Uint8Array,
	from: number,
	target: Uint8Array,
	to: number,
): void {
	const dims = [...loops.outer, loops.rows];
	const unit = commonUnit(
		leadOf(source) + from,
		leadOf(target) + to,
		loops.columns.size,
		...dims.flatMap((dim) => [dim.sourceStride, dim.targetStride]),
	);
	const inUnits = (dim: PieceDim): PieceDim => ({
		size: dim.size,
		sourceStride: dim.sourceStride / unit,
		targetStride: dim.targetStride / unit,
	});
	const rows = inUnits(loops.rows);
	const columns = { size: loops.columns.size / unit, sourceStride: 1, targetStride: 1 };
	const s = viewAs(source, unit);
	const t = viewAs(target, unit);
	forEachPlane(
		{ outer: loops.outer.map(inUnits), rows, columns },
		(leadOf(source) + from) / unit,
		(leadOf(target) + to) / unit,
		(start, targetStart, count) => {
			copyUnits(s, start, t, targetStart, rows, count);
		},
	);
}

function copyUnits(
	source: Elements,
	from: number,
	target: Elements,
	to: number,
	rows: PieceDim,
	count: number,
): void {
	for (let row = 0; row < rows.size; row++) {
		let s = from + row * rows.sourceStride;
		let t = to + row * rows.targetStride;
		const end = s + count;
		while (s < end) target[t++] = source[s++] ?? 0;
	}
}
