import { itemBytes } from "../../core/dtype.ts";
import { invariant } from "../../core/errors.ts";
import type { GatherPiece, PieceDim } from "../../core/ports.ts";
import { CONVERSIONS, KEEPING_BITS, type KernelMemory } from "./kernels.ts";

const ONCE: PieceDim = { size: 1, sourceStride: 0, targetStride: 0 };

/**
 * Makes the target elements of a piece with the WebAssembly kernels.
 *
 * @param staging - Part of `memory`.
 * @param stagingOffset - Byte offset in `staging` of the piece's first source element; any alignment.
 * @param target - Part of `memory`; its first byte is the element that the piece calls 0.
 * @returns `false`, and nothing is done, when no kernel takes a piece of this shape or dtype.
 */
export function runGather(
	memory: KernelMemory,
	piece: GatherPiece,
	staging: Uint8Array,
	stagingOffset: number,
	target: Uint8Array,
): boolean {
	const { dims, sourceDtype, targetDtype } = piece;
	if (dims.some((dim) => dim.size === 0)) return true;
	assertInside(piece, staging.length - stagingOffset, target.length);
	const source = staging.byteOffset + stagingOffset;
	const first = target.byteOffset + piece.targetOffset * itemBytes(targetDtype);
	const inner = dims.at(-1);
	if (inner === undefined) return runRuns(memory, piece, dims, 1, source, first);
	if (inner.targetStride === 1) {
		if (inner.sourceStride === 1) {
			return runRuns(memory, piece, dims.slice(0, -1), inner.size, source, first);
		}
		const rowAxis = dims.findIndex((dim) => dim.sourceStride === 1);
		if (rowAxis >= 0) return runTransposes(memory, piece, rowAxis, source, first);
	}
	// Single elements are short runs. Casting them one by one is no faster here.
	return sourceDtype === targetDtype && runRuns(memory, piece, dims, 1, source, first);
}

/** A typed array ignores what lies outside of it; the kernels would read and write the bytes of others. */
function assertInside(piece: GatherPiece, sourceBytes: number, targetBytes: number): void {
	let source = 1;
	let target = piece.targetOffset + 1;
	for (const { size, sourceStride, targetStride } of piece.dims) {
		source += (size - 1) * sourceStride;
		target += (size - 1) * targetStride;
	}
	const isInside =
		source * itemBytes(piece.sourceDtype) <= sourceBytes &&
		target * itemBytes(piece.targetDtype) <= targetBytes;
	invariant(isInside, "a piece reaches outside of its memory");
}

/** Elements that are neighbours on both sides, `count` at a time, under the loops of `dims`. */
function runRuns(
	{ kernels, scratch }: KernelMemory,
	{ sourceDtype, targetDtype }: GatherPiece,
	dims: readonly PieceDim[],
	count: number,
	source: number,
	target: number,
): boolean {
	const sourceWidth = itemBytes(sourceDtype);
	const targetWidth = itemBytes(targetDtype);
	const conversion = CONVERSIONS[sourceDtype]?.[targetDtype];
	if (conversion === undefined && sourceDtype !== targetDtype) return false;
	const rows = dims.at(-1) ?? ONCE;
	const planes = dims.at(-2) ?? ONCE;
	const planeT = planes.targetStride * targetWidth;
	const planeS = planes.sourceStride * sourceWidth;
	const rowT = rows.targetStride * targetWidth;
	const rowS = rows.sourceStride * sourceWidth;
	const runBytes = count * sourceWidth;
	const { copyRuns, castRuns } = kernels;
	forEachIndex(dims.slice(0, -2), sourceWidth, targetWidth, source, target, (s, t) => {
		if (conversion === undefined) {
			copyRuns(t, s, runBytes, planes.size, planeT, planeS, rows.size, rowT, rowS);
		} else {
			const { size } = planes;
			castRuns(conversion, t, s, count, size, planeT, planeS, rows.size, rowT, rowS, scratch);
		}
	});
	return true;
}

/** A loop that runs along the source, `dims[rowAxis]`, and one that runs along the target, the last, under the others. */
function runTransposes(
	{ kernels, scratch }: KernelMemory,
	{ dims, sourceDtype, targetDtype }: GatherPiece,
	rowAxis: number,
	source: number,
	target: number,
): boolean {
	const sourceWidth = itemBytes(sourceDtype);
	const targetWidth = itemBytes(targetDtype);
	const conversion =
		sourceDtype === targetDtype
			? KEEPING_BITS[sourceWidth]
			: CONVERSIONS[sourceDtype]?.[targetDtype];
	if (conversion === undefined) return false;
	const rows = dims[rowAxis] ?? ONCE;
	const columns = dims.at(-1) ?? ONCE;
	const rowT = rows.targetStride * targetWidth;
	const columnS = columns.sourceStride * sourceWidth;
	const outer = dims.filter((dim) => dim !== rows && dim !== columns);
	const { transpose } = kernels;
	forEachIndex(outer, sourceWidth, targetWidth, source, target, (s, t) => {
		transpose(conversion, t, s, rows.size, rowT, columns.size, columnS, scratch);
	});
	return true;
}

/** Calls `kernel` with the addresses that every index of `dims` leads to. */
function forEachIndex(
	dims: readonly PieceDim[],
	sourceWidth: number,
	targetWidth: number,
	source: number,
	target: number,
	kernel: (source: number, target: number) => void,
): void {
	const [dim, ...inner] = dims;
	if (dim === undefined) {
		kernel(source, target);
		return;
	}
	for (let i = 0; i < dim.size; i++) {
		const s = source + i * dim.sourceStride * sourceWidth;
		const t = target + i * dim.targetStride * targetWidth;
		forEachIndex(inner, sourceWidth, targetWidth, s, t, kernel);
	}
}
