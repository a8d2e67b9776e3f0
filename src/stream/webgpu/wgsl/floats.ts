import { FORMAT_CODES } from "../job-table.ts";

/**
 * Conversions between float32, float16 and bfloat16 in integers alone, by the rule of `cpu/float-bits.ts`: WGSL promises neither a
 * direction of rounding nor subnormals, and lets an implementation assume that there is no NaN.
 */
export const FLOATS: string = `const FLOAT32 = ${FORMAT_CODES.float32}u;
const FLOAT16 = ${FORMAT_CODES.float16}u;
const BFLOAT16 = ${FORMAT_CODES.bfloat16}u;
const NAN_F32 = 0x7fc00000u;

fn canonical(bits : u32) -> u32 {
	return select(bits, NAN_F32, (bits & 0x7fffffffu) > 0x7f800000u);
}

fn float16_to_float32(bits : u32) -> u32 {
	let sign = (bits & 0x8000u) << 16u;
	let exponent = (bits >> 10u) & 0x1fu;
	let mantissa = bits & 0x3ffu;
	if (exponent == 0x1fu) {
		return select(NAN_F32, sign | 0x7f800000u, mantissa == 0u);
	}
	if (exponent != 0u) {
		return sign | ((exponent + 112u) << 23u) | (mantissa << 13u);
	}
	if (mantissa == 0u) {
		return sign;
	}
	let shift = countLeadingZeros(mantissa) - 21u;
	return sign | ((113u - shift) << 23u) | (((mantissa << shift) & 0x3ffu) << 13u);
}

fn float32_to_bfloat16(bits : u32) -> u32 {
	if ((bits & 0x7fffffffu) > 0x7f800000u) {
		return 0x7fc0u;
	}
	return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

fn float32_to_float16(bits : u32) -> u32 {
	let sign = (bits >> 16u) & 0x8000u;
	let magnitude = bits & 0x7fffffffu;
	if (magnitude > 0x7f800000u) {
		return 0x7e00u;
	}
	if (magnitude >= 0x477ff000u) {
		return sign | 0x7c00u;
	}
	if (magnitude >= 0x38800000u) {
		let rebiased = magnitude - 0x38000000u;
		return sign | ((rebiased + 0xfffu + ((rebiased >> 13u) & 1u)) >> 13u);
	}
	if (magnitude <= 0x33000000u) {
		return sign;
	}
	let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
	return sign | round_shifted(mantissa, 126u - (magnitude >> 23u));
}

fn round_shifted(value : u32, shift : u32) -> u32 {
	let half = 1u << (shift - 1u);
	let quotient = value >> shift;
	let rest = value & (2u * half - 1u);
	let is_up = rest > half || (rest == half && (quotient & 1u) == 1u);
	return quotient + u32(is_up);
}

fn encode(bits : u32, format : u32) -> u32 {
	switch (format) {
		case FLOAT16: {
			return float32_to_float16(bits);
		}
		case BFLOAT16: {
			return float32_to_bfloat16(bits);
		}
		default: {
			return bits;
		}
	}
}

fn load_float(place : u32, format : u32) -> u32 {
	switch (format) {
		case FLOAT16: {
			return float16_to_float32(load16(place));
		}
		case BFLOAT16: {
			return canonical(load16(place) << 16u);
		}
		default: {
			return canonical(load32(place));
		}
	}
}
`;
