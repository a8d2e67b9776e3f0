import { areNormal, castNormal, narrowNormal } from "./cast-normal";

/**
 * Casts, bit by bit as `cpu/float-bits.ts` says. A type stands for a dtype: `f32` float32, `i16` float16, `u16` bfloat16.
 */

/** What lies between the exponents of float16 and of float32, at its place in a float32. */
const REBIAS: i32 = 112 << 23;

/** Four elements of `S`, 16 bits each, as float32 bits. A NaN stays some NaN. */
function decode<S>(source: usize): v128 {
	const bits = v128.load_ext<u16>(source);
	if (!isSigned<S>()) return i32x4.shl(bits, 16);
	const magnitude = v128.and(bits, i32x4.splat(0x7fff));
	const sign = i32x4.shl(v128.xor(bits, magnitude), 16);
	const scaled = i32x4.add(i32x4.shl(magnitude, 13), i32x4.splat(REBIAS));
	// Infinity and NaN have the largest exponent in both formats: rebias once more.
	const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x7bff));
	const normal = i32x4.add(scaled, v128.and(isSpecial, i32x4.splat(REBIAS)));
	// Subnormals count units of 2^-24, exact in float32.
	const subnormal = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(5.9604644775390625e-8));
	const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat(0x400));
	return v128.or(sign, v128.bitselect(subnormal, normal, isSubnormal));
}

@inline
/** Four float32, every NaN the canonical one. */
export function withOneNaN(bits: v128): v128 {
	return v128.bitselect(i32x4.splat(0x7fc00000), bits, f32x4.ne(bits, bits));
}

/** Four elements of `T`, one in each 32-bit lane, from float32 bits. */
function encode<T>(bits: v128): v128 {
	if (sizeof<T>() === 4) return withOneNaN(bits);
	const magnitude = v128.and(bits, i32x4.splat(0x7fffffff));
	const isNaN = i32x4.gt_s(magnitude, i32x4.splat(0x7f800000));
	if (!isSigned<T>()) {
		const odd = v128.and(i32x4.shr_u(bits, 16), i32x4.splat(1));
		const rounded = i32x4.shr_u(i32x4.add(i32x4.add(bits, i32x4.splat(0x7fff)), odd), 16);
		return v128.bitselect(i32x4.splat(0x7fc0), rounded, isNaN);
	}
	const sign = i32x4.shr_u(v128.xor(bits, magnitude), 16);
	const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
	const rebiased = i32x4.add(magnitude, i32x4.splat(0xfff - REBIAS));
	const normal = i32x4.shr_u(i32x4.add(rebiased, odd), 13);
	// Below 2^-14 the result counts units of 2^-24: those of 0.5, so that adding 0.5 rounds to them, to nearest and even.
	const shifted = f32x4.add(magnitude, f32x4.splat(0.5));
	const subnormal = i32x4.sub(shifted, i32x4.splat(0x3f000000));
	const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat(0x38800000));
	const finite = v128.bitselect(subnormal, normal, isSubnormal);
	// From 65520 on, half-way between the largest float16 and the next power of two, values overflow.
	const isLarge = i32x4.gt_s(magnitude, i32x4.splat(0x477fefff));
	const result = v128.or(sign, v128.bitselect(i32x4.splat(0x7c00), finite, isLarge));
	return v128.bitselect(i32x4.splat(0x7e00), result, isNaN);
}

@inline
/** 8 elements of 16 bits from float32 bits, whatever they are. */
export function narrow<T>(low: v128, high: v128): v128 {
	return areNormal<T>(low, high) ? narrowNormal<T>(low, high) : narrowAny<T>(low, high);
}

function narrowAny<T>(low: v128, high: v128): v128 {
	return i16x8.narrow_i32x4_u(encode<T>(low), encode<T>(high));
}

/** Converts 8 neighbours of 16 bits, whatever they are. */
function castAny<S, T>(target: usize, source: usize): void {
	const low = encode<T>(decode<S>(source));
	const high = encode<T>(decode<S>(source + 4 * sizeof<S>()));
	if (sizeof<T>() === 4) {
		v128.store(target, low);
		v128.store(target, high, 16);
	} else v128.store(target, i16x8.narrow_i32x4_u(low, high));
}

@inline
/** Converts 8 neighbours. Inlined wherever it is used: V8 then keeps its constants in registers, which is half the time. */
function castVector<S, T>(target: usize, source: usize): void {
	if (sizeof<S>() === 4) {
		v128.store(target, narrow<T>(v128.load(source), v128.load(source, 16)));
	} else if (!castNormal<S, T>(target, source)) castAny<S, T>(target, source);
}

/**
 * Converts `count` neighbours. The last vector overlaps the one before it; fewer than a vector go through `scratch`, of 64 bytes.
 */
export function castRun<S, T>(target: usize, source: usize, count: usize, scratch: usize): void {
	if (count < 8) {
		castFew<S, T>(target, source, count, scratch);
		return;
	}
	const lastSource = source + (count - 8) * sizeof<S>();
	const lastTarget = target + (count - 8) * sizeof<T>();
	// Two at a time: what a loop costs itself is a fifth of the time otherwise.
	while (source + 8 * sizeof<S>() < lastSource) {
		castVector<S, T>(target, source);
		castVector<S, T>(target + 8 * sizeof<T>(), source + 8 * sizeof<S>());
		source += 16 * sizeof<S>();
		target += 16 * sizeof<T>();
	}
	while (source < lastSource) {
		castVector<S, T>(target, source);
		source += 8 * sizeof<S>();
		target += 8 * sizeof<T>();
	}
	castVector<S, T>(lastTarget, lastSource);
}

function castFew<S, T>(target: usize, source: usize, count: usize, scratch: usize): void {
	for (let i: usize = 0; i < count; i++) {
		store<S>(scratch + i * sizeof<S>(), load<S>(source + i * sizeof<S>()));
	}
	castVector<S, T>(scratch + 32, scratch);
	for (let i: usize = 0; i < count; i++) {
		store<T>(target + i * sizeof<T>(), load<T>(scratch + 32 + i * sizeof<T>()));
	}
}

/** Converts `planes × rows` runs of `count` elements that are contiguous on both sides. Strides in bytes. */
export function castPlanes<S, T>(
	target: usize,
	source: usize,
	count: usize,
	planes: usize,
	planeTarget: usize,
	planeSource: usize,
	rows: usize,
	rowTarget: usize,
	rowSource: usize,
	scratch: usize,
): void {
	for (let plane: usize = 0; plane < planes; plane++) {
		let t = target;
		let s = source;
		for (let row: usize = 0; row < rows; row++) {
			castRun<S, T>(t, s, count, scratch);
			t += rowTarget;
			s += rowSource;
		}
		target += planeTarget;
		source += planeSource;
	}
}
