/**
 * CRC-32 of two byte strings one after the other, from their own CRCs.
 *
 * A CRC-32 is a polynomial over GF(2) modulo P = x^32 + x^26 + … + 1; bit 31 of the number is the coefficient of x^0. Appending
 * n bytes multiplies what stood before by x^(8n) modulo P, and the initial and final inversions cancel out of the sum.
 *
 * @see ISO 3309 / ITU-T V.42 for P, reflected as 0xedb88320
 */
export function crc32Combine(first: number, second: number, secondBytes: number): number {
	return (multiply(powerOfX(secondBytes), first) ^ second) >>> 0;
}

const POLYNOMIAL = 0xedb88320;

/** Product of two polynomials modulo P. */
function multiply(a: number, b: number): number {
	let product = 0;
	let shifted = b;
	// From the coefficient of x^0 (the top bit) on, `shifted` is b·x^k.
	for (let bit = 31; bit >= 0; bit--) {
		if ((a >>> bit) & 1) product ^= shifted;
		shifted = shifted & 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
	}
	return product;
}

/** x^(8·bytes) modulo P, by repeated squaring. */
function powerOfX(bytes: number): number {
	let power = 0x80000000;
	// x^8
	let square = 0x00800000;
	for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
		if (rest % 2 === 1) power = multiply(square, power);
		square = multiply(square, square);
	}
	return power;
}
