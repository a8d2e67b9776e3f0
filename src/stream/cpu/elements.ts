/** Typed views that kernels move bits through: unsigned, so that no NaN is ever touched. */
export type Elements = Uint8Array | Uint16Array | Uint32Array;

/** Size of one unit of a view, bytes. */
export type UnitBytes = 1 | 2 | 4;

/**
 * `bytes` as units of `unitBytes`, from the last multiple of 4 at or before their first byte on: byte `i` of them is byte
 * `leadOf(bytes) + i` of the view. Positions in a view are small, however large the memory that it is a part of.
 */
export function viewAs(bytes: Uint8Array, unitBytes: UnitBytes): Elements {
	const { buffer } = bytes;
	const lead = leadOf(bytes);
	const start = bytes.byteOffset - lead;
	const units = Math.floor((lead + bytes.length) / unitBytes);
	if (unitBytes === 4) return new Uint32Array(buffer, start, units);
	if (unitBytes === 2) return new Uint16Array(buffer, start, units);
	return new Uint8Array(buffer, start, units);
}

/** Where the first of `bytes` lies in their views, bytes. */
export function leadOf(bytes: Uint8Array): number {
	return bytes.byteOffset % 4;
}

/** The largest unit that divides every one of `numbers`, which are bytes. */
export function commonUnit(...numbers: readonly number[]): UnitBytes {
	if (numbers.every((number) => number % 4 === 0)) return 4;
	return numbers.every((number) => number % 2 === 0) ? 2 : 1;
}
