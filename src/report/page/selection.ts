/** What is picked: a tensor, a block of it, a rank. */
export interface Picked {
	readonly tensor: number | undefined;
	/** An entry of `tensor`. */
	readonly entry: number | undefined;
	readonly rank: number | undefined;
}

/** What all views agree on, and are told of. */
export interface Selection {
	readonly picked: Picked;
	/** Changes some of it. Another tensor has no entry picked. */
	pick(change: Partial<Picked>): void;
	/** Calls `listener` after every change, with what was picked before. */
	onChange(listener: (now: Picked, before: Picked) => void): void;
}

/** Nothing is picked at first. */
export function createSelection(): Selection {
	const listeners: ((now: Picked, before: Picked) => void)[] = [];
	let picked: Picked = { tensor: undefined, entry: undefined, rank: undefined };
	return {
		get picked() {
			return picked;
		},
		pick(change) {
			const before = picked;
			const isOther = "tensor" in change && change.tensor !== before.tensor;
			const next = { ...before, ...(isOther ? { entry: undefined } : {}), ...change };
			const isSame =
				next.tensor === before.tensor && next.entry === before.entry && next.rank === before.rank;
			if (isSame) return;
			picked = next;
			for (const listener of listeners) listener(next, before);
		},
		onChange(listener) {
			listeners.push(listener);
		},
	};
}
