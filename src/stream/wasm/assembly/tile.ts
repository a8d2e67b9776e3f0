/**
 * Transposes of small tiles in registers. A tile is square: `tileSize<T>()` elements of `T` a side; row `r` of the target is
 * column `r` of the source. Strides in bytes.
 */

/** Elements of `T` in one side of a tile: what fills a vector, or half of one for bytes. */
export function tileSize<T>(): usize {
	return sizeof<T>() === 1 ? 8 : 16 / sizeof<T>();
}

/** Transposes one tile. */
export function transposeTile<T>(target: usize, row: usize, source: usize, column: usize): void {
	if (sizeof<T>() === 1) transposeBytes(target, row, source, column);
	else if (sizeof<T>() === 2) transposePairs(target, row, source, column);
	else if (sizeof<T>() === 4) transposeWords(target, row, source, column);
	else transposeDoubles(target, row, source, column);
}

function transposeBytes(target: usize, row: usize, source: usize, column: usize): void {
	const s4 = source + 4 * column;
	const a0 = v128.load64_zero(source);
	const a1 = v128.load64_zero(source + column);
	const a2 = v128.load64_zero(source + 2 * column);
	const a3 = v128.load64_zero(source + 3 * column);
	const a4 = v128.load64_zero(s4);
	const a5 = v128.load64_zero(s4 + column);
	const a6 = v128.load64_zero(s4 + 2 * column);
	const a7 = v128.load64_zero(s4 + 3 * column);
	const b0 = low8(a0, a1);
	const b1 = low8(a2, a3);
	const b2 = low8(a4, a5);
	const b3 = low8(a6, a7);
	const c0 = low16(b0, b1);
	const c1 = high16(b0, b1);
	const c2 = low16(b2, b3);
	const c3 = high16(b2, b3);
	storeTwice(target, row, low32(c0, c2));
	storeTwice(target + 2 * row, row, high32(c0, c2));
	storeTwice(target + 4 * row, row, low32(c1, c3));
	storeTwice(target + 6 * row, row, high32(c1, c3));
}

/** Stores the two halves of a vector in two rows. */
function storeTwice(target: usize, row: usize, rows: v128): void {
	v128.store64_lane(target, rows, 0);
	v128.store64_lane(target + row, rows, 1);
}

function transposePairs(target: usize, row: usize, source: usize, column: usize): void {
	const s4 = source + 4 * column;
	const a0 = v128.load(source);
	const a1 = v128.load(source + column);
	const a2 = v128.load(source + 2 * column);
	const a3 = v128.load(source + 3 * column);
	const a4 = v128.load(s4);
	const a5 = v128.load(s4 + column);
	const a6 = v128.load(s4 + 2 * column);
	const a7 = v128.load(s4 + 3 * column);
	const b0 = low16(a0, a1);
	const b1 = high16(a0, a1);
	const b2 = low16(a2, a3);
	const b3 = high16(a2, a3);
	const b4 = low16(a4, a5);
	const b5 = high16(a4, a5);
	const b6 = low16(a6, a7);
	const b7 = high16(a6, a7);
	const c0 = low32(b0, b2);
	const c1 = high32(b0, b2);
	const c2 = low32(b1, b3);
	const c3 = high32(b1, b3);
	const c4 = low32(b4, b6);
	const c5 = high32(b4, b6);
	const c6 = low32(b5, b7);
	const c7 = high32(b5, b7);
	const t4 = target + 4 * row;
	v128.store(target, low64(c0, c4));
	v128.store(target + row, high64(c0, c4));
	v128.store(target + 2 * row, low64(c1, c5));
	v128.store(target + 3 * row, high64(c1, c5));
	v128.store(t4, low64(c2, c6));
	v128.store(t4 + row, high64(c2, c6));
	v128.store(t4 + 2 * row, low64(c3, c7));
	v128.store(t4 + 3 * row, high64(c3, c7));
}

function transposeWords(target: usize, row: usize, source: usize, column: usize): void {
	const a0 = v128.load(source);
	const a1 = v128.load(source + column);
	const a2 = v128.load(source + 2 * column);
	const a3 = v128.load(source + 3 * column);
	const b0 = low32(a0, a1);
	const b1 = high32(a0, a1);
	const b2 = low32(a2, a3);
	const b3 = high32(a2, a3);
	v128.store(target, low64(b0, b2));
	v128.store(target + row, high64(b0, b2));
	v128.store(target + 2 * row, low64(b1, b3));
	v128.store(target + 3 * row, high64(b1, b3));
}

function transposeDoubles(target: usize, row: usize, source: usize, column: usize): void {
	const a0 = v128.load(source);
	const a1 = v128.load(source + column);
	v128.store(target, low64(a0, a1));
	v128.store(target + row, high64(a0, a1));
}

// The lower and the upper halves of two vectors, their lanes taken in turns.

function low8(a: v128, b: v128): v128 {
	return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function low16(a: v128, b: v128): v128 {
	return v128.shuffle<u16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

function high16(a: v128, b: v128): v128 {
	return v128.shuffle<u16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

function low32(a: v128, b: v128): v128 {
	return v128.shuffle<u32>(a, b, 0, 4, 1, 5);
}

function high32(a: v128, b: v128): v128 {
	return v128.shuffle<u32>(a, b, 2, 6, 3, 7);
}

function low64(a: v128, b: v128): v128 {
	return v128.shuffle<u64>(a, b, 0, 2);
}

function high64(a: v128, b: v128): v128 {
	return v128.shuffle<u64>(a, b, 1, 3);
}
