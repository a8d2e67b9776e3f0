/**
 * float32 bit patterns worth converting: every sign and exponent, each with the mantissas around the places where float16 and
 * bfloat16 round, with every power of two, and with a spread of others.
 *
 * @yields the patterns, ascending in sign and exponent.
 */
export function* float32Patterns(): Generator<number> {
	const edges = [0, 1, 2, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001];
	const mantissas = new Set<number>();
	for (const edge of edges) {
		for (const base of [0, 0x2000, 0x10000, 0x18000, 0x3fe000, 0x400000, 0x7f0000]) {
			mantissas.add((base + edge) & 0x7fffff);
		}
	}
	for (let shift = 0; shift < 23; shift++) {
		for (const near of [-1, 0, 1]) mantissas.add(((1 << shift) + near) & 0x7fffff);
	}
	mantissas.add(0x7fffff).add(0x7fefff).add(0x7ff000).add(0x7ff001);
	let random = 1;
	for (let i = 0; i < 40; i++) {
		random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
		mantissas.add(random & 0x7fffff);
	}
	for (let high = 0; high < 512; high++) {
		for (const mantissa of mantissas) yield high * 2 ** 23 + mantissa;
	}
}
