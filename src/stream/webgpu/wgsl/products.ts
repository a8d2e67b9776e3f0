import { CODEC_CODES, SCALE_CODES } from "../job-table.ts";

/**
 * Products of an element and its scale, by the rule of `cpu/products.ts`: the significands have at most 4 and 24 bits, so that theirs
 * is exact in 32, and is rounded once to a float32.
 */
export const PRODUCTS: string = `const FINITE = 0u;
const INFINITE = 1u;
const NAN = 2u;

// significand * 2^exponent; sign is the uppermost bit.
struct Number {
	kind : u32,
	sign : u32,
	significand : u32,
	exponent : i32,
}

fn small_float(code : u32, sign : u32, exponent_bits : u32, mantissa_bits : u32, bias : i32) -> Number {
	let mantissa = code & ((1u << mantissa_bits) - 1u);
	let field = (code >> mantissa_bits) & ((1u << exponent_bits) - 1u);
	let leading = select(1u << mantissa_bits, 0u, field == 0u);
	return Number(FINITE, sign, mantissa | leading, i32(max(field, 1u)) - bias - i32(mantissa_bits));
}

fn element_of(place : u32, codec : u32) -> Number {
	if (codec == ${CODEC_CODES.float4_e2m1}u) {
		let nibble = load8(place >> 1u) >> ((place & 1u) * 4u);
		return small_float(nibble, (nibble & 8u) << 28u, 2u, 1u, 1);
	}
	let code = load8(place);
	let sign = (code & 0x80u) << 24u;
	let magnitude = code & 0x7fu;
	if (codec == ${CODEC_CODES.float8_e5m2}u) {
		var number = small_float(code, sign, 5u, 2u, 15);
		if (magnitude >= 0x7cu) {
			number.kind = select(NAN, INFINITE, magnitude == 0x7cu);
		}
		return number;
	}
	var number = small_float(code, sign, 4u, 3u, 7);
	if (magnitude == 0x7fu) {
		number.kind = NAN;
	}
	return number;
}

fn scale_of(place : u32, codec : u32) -> Number {
	if (codec == ${SCALE_CODES.power_of_two}u || codec == ${SCALE_CODES.float8_e8m0fnu}u) {
		let power = load8(place);
		let is_nan = power == 255u && codec == ${SCALE_CODES.float8_e8m0fnu}u;
		return Number(select(FINITE, NAN, is_nan), 0u, 1u, i32(power) - 127);
	}
	let bits = load_float(place, codec);
	let magnitude = bits & 0x7fffffffu;
	var number = small_float(magnitude, bits & 0x80000000u, 8u, 23u, 127);
	if (magnitude >= 0x7f800000u) {
		number.kind = select(NAN, INFINITE, magnitude == 0x7f800000u);
	}
	return number;
}

fn product(a : Number, b : Number) -> u32 {
	let sign = a.sign ^ b.sign;
	if (a.kind == NAN || b.kind == NAN) {
		return NAN_F32;
	}
	if (a.kind == INFINITE || b.kind == INFINITE) {
		let is_zero = (a.kind == FINITE && a.significand == 0u) || (b.kind == FINITE && b.significand == 0u);
		return select(sign | 0x7f800000u, NAN_F32, is_zero);
	}
	let significand = a.significand * b.significand;
	if (significand == 0u) {
		return sign;
	}
	// Of the leading bit, and of the last one that a float32 keeps.
	let exponent = a.exponent + b.exponent;
	let leading = exponent + 31 - i32(countLeadingZeros(significand));
	if (leading > 127) {
		return sign | 0x7f800000u;
	}
	let last = max(leading - 23, -149);
	let shift = last - exponent;
	var units = 0u;
	if (shift > 0) {
		units = round_shifted(significand, u32(shift));
	} else {
		units = significand << u32(-shift);
	}
	// The leading bit adds one to the field of the exponent; so does a carry, up to infinity.
	return sign | ((u32(last + 149) << 23u) + units);
}
`;
