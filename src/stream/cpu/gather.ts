import { itemBytes } from "../../core/dtype.ts";
import type { GatherPiece } from "../../core/ports.ts";
import { copyElements, isPairTranspose, transposePairs } from "./copy-elements.ts";
import { copyRuns } from "./copy-runs.ts";
import { commonUnit, leadOf, viewAs } from "./elements.ts";
import { arrangeLoops, splitElements } from "./loops.ts";

/**
 * Moves the elements of a piece whose dtypes are equal, bits untouched.
 *
 * @param stagingOffset - Byte offset in `staging` of the piece's first source element; any alignment.
 */
export function gather(
	piece: GatherPiece,
	staging: Uint8Array,
	stagingOffset: number,
	target: Uint8Array,
): void {
	const width = itemBytes(piece.sourceDtype);
	const targetOffset = piece.targetOffset * width;
	const inner = piece.dims.at(-1);
	if (inner === undefined || (inner.sourceStride === 1 && inner.targetStride === 1)) {
		const loops = arrangeLoops(splitElements(piece.dims, width));
		copyRuns(loops, staging, stagingOffset, target, targetOffset);
		return;
	}
	const from = leadOf(staging) + stagingOffset;
	const to = leadOf(target) + targetOffset;
	// Elements of 8 bytes, and those that lie off their alignment, move as several smaller units.
	const unit = commonUnit(width, from, to);
	if (unit !== width) {
		const loops = arrangeLoops(splitElements(piece.dims, width / unit));
		copyElements(loops, viewAs(staging, unit), from / unit, viewAs(target, unit), to / unit);
		return;
	}
	const loops = arrangeLoops(piece.dims);
	const source = viewAs(staging, unit);
	const into = viewAs(target, unit);
	if (source instanceof Uint16Array && into instanceof Uint16Array && isPairTranspose(loops)) {
		transposePairs(loops, source, from / unit, into, to / unit);
	} else {
		copyElements(loops, source, from / unit, into, to / unit);
	}
}
