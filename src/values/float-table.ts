import { type Dtype, itemBytes } from "../core/dtype.ts";

/** Layout of a floating-point format of 8 or 16 bits. */
interface FloatFormat {
	readonly exponentBits: number;
	readonly mantissaBits: number;
	readonly bias: number;
	/**
	 * What the largest exponents mean. `ieee`: infinities and NaNs. `fn`: no infinities, NaN is all ones. `fnuz`: no infinities and no
	 * negative zero, whose bits are NaN. `exponent`: powers of two alone, no sign, NaN is all ones.
	 */
	readonly specials: "ieee" | "fn" | "fnuz" | "exponent";
}

/**
 * @see IEEE 754 binary16; OCP 8-bit floating point (OFP8) and microscaling formats (E8M0); torch 2.13 `c10/util/Float8_*.h`
 */
const FORMATS: { readonly [D in Dtype]?: FloatFormat } = {
	float16: { exponentBits: 5, mantissaBits: 10, bias: 15, specials: "ieee" },
	bfloat16: { exponentBits: 8, mantissaBits: 7, bias: 127, specials: "ieee" },
	float8_e4m3fn: { exponentBits: 4, mantissaBits: 3, bias: 7, specials: "fn" },
	float8_e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, specials: "ieee" },
	float8_e4m3fnuz: { exponentBits: 4, mantissaBits: 3, bias: 8, specials: "fnuz" },
	float8_e5m2fnuz: { exponentBits: 5, mantissaBits: 2, bias: 16, specials: "fnuz" },
	float8_e8m0fnu: { exponentBits: 8, mantissaBits: 0, bias: 127, specials: "exponent" },
};

function valueOf(code: number, format: FloatFormat): number {
	const { exponentBits, mantissaBits, bias, specials } = format;
	const top = 2 ** exponentBits - 1;
	const mantissa = code % 2 ** mantissaBits;
	const exponent = Math.floor(code / 2 ** mantissaBits) % 2 ** exponentBits;
	if (specials === "exponent") return exponent === top ? Number.NaN : 2 ** (exponent - bias);
	const isNegative = code >= 2 ** (exponentBits + mantissaBits);
	if (specials === "fnuz" && isNegative && exponent === 0 && mantissa === 0) return Number.NaN;
	const isTop = exponent === top;
	if (specials === "ieee" && isTop && mantissa > 0) return Number.NaN;
	if (specials === "fn" && isTop && mantissa === 2 ** mantissaBits - 1) return Number.NaN;
	const sign = isNegative ? -1 : 1;
	if (specials === "ieee" && isTop) return sign * Number.POSITIVE_INFINITY;
	const fraction = mantissa / 2 ** mantissaBits;
	return exponent === 0
		? sign * fraction * 2 ** (1 - bias)
		: sign * (1 + fraction) * 2 ** (exponent - bias);
}

function makeTable(dtype: Dtype): Float64Array | undefined {
	const format = FORMATS[dtype];
	if (format !== undefined) {
		const signBits = format.specials === "exponent" ? 0 : 1;
		const codes = 2 ** (signBits + format.exponentBits + format.mantissaBits);
		return Float64Array.from({ length: codes }, (_, code) => valueOf(code, format));
	}
	const values = INTEGER_VALUES[dtype];
	return (
		values && Float64Array.from({ length: 2 ** (8 * itemBytes(dtype)) }, (_, code) => values(code))
	);
}

/** What the bit patterns of the narrow integers mean. */
const INTEGER_VALUES: { readonly [D in Dtype]?: (code: number) => number } = {
	uint8: (code) => code,
	int8: (code) => (code < 128 ? code : code - 256),
	// Any byte but 0 is true, as in torch.
	bool: (code) => (code === 0 ? 0 : 1),
	uint16: (code) => code,
	int16: (code) => (code < 32_768 ? code : code - 65_536),
};

const known = new Map<Dtype, Float64Array>();

/**
 * The values of all bit patterns of a dtype of 8 or 16 bits, by pattern; `undefined` for wider ones. Exact: a float64 holds each of them.
 */
export function valueTable(dtype: Dtype): Float64Array | undefined {
	const table = known.get(dtype) ?? makeTable(dtype);
	if (table !== undefined) known.set(dtype, table);
	return table;
}
