/** Typed views that kernels move bits through: unsigned, so that no NaN is ever touched. */
export type Elements = Uint8Array | Uint16Array | Uint32Array;

/** Size of one unit of a view, bytes. */
export type UnitBytes = 1 | 2 | 4;

/** All of the memory behind `bytes` as units of `unitBytes`; index it by absolute byte position divided by `unitBytes`. */
export function viewAs(bytes: Uint8Array, unitBytes: UnitBytes): Elements {
	const { buffer } = bytes;
	const units = Math.floor(buffer.byteLength / unitBytes);
	if (unitBytes === 4) return new Uint32Array(buffer, 0, units);
	if (unitBytes === 2) return new Uint16Array(buffer, 0, units);
	return new Uint8Array(buffer, 0, units);
}

/** The largest unit that divides every one of `numbers`, which are bytes. */
export function commonUnit(...numbers: readonly number[]): UnitBytes {
	if (numbers.every((number) => number % 4 === 0)) return 4;
	return numbers.every((number) => number % 2 === 0) ? 2 : 1;
}
