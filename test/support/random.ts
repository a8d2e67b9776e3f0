/** Random choices that a seed repeats. */
export interface Random {
	/** From 0 up to but not including `end`. */
	below(end: number): number;
	/** From 0 up to but not including 1. */
	fraction(): number;
	pick<T>(choices: readonly T[]): T;
}

/** mulberry32: the same choices for the same seed, on every machine. */
export function createRandom(seed: number): Random {
	let state = seed;
	const fraction = (): number => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
	const below = (end: number): number => Math.floor(fraction() * end);
	return {
		below,
		fraction,
		pick(choices) {
			const choice = choices[below(choices.length)];
			if (choice === undefined) throw new Error("nothing to pick from");
			return choice;
		},
	};
}

/** Bytes that a seed repeats. */
export function randomBytes(length: number, seed: number): Uint8Array {
	let state = seed % 2 ** 31;
	return Uint8Array.from({ length }, () => {
		state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
		return state >>> 16;
	});
}
