import type { Timers } from "../../src/job/timers.ts";

/** A clock that a test moves. */
export interface ManualTimers extends Timers {
	/** Moves the clock without calling anybody. */
	advance(ms: number): void;
	/** Moves the clock, calls what is due, and lets file operations that it started end. */
	tick(ms: number): Promise<void>;
}

/** Long enough for a small file to be written and synced. */
const SETTLE_MS = 30;

/** A clock at 0. */
export function manualTimers(): ManualTimers {
	let now = 0;
	const due = new Set<{
		at: number;
		readonly every: number | undefined;
		readonly call: () => void;
	}>();
	return {
		now: () => now,
		every(every, call) {
			const entry = { at: now + every, every, call };
			due.add(entry);
			return () => due.delete(entry);
		},
		wait: (ms) =>
			new Promise((resolve) => {
				due.add({ at: now + ms, every: undefined, call: resolve });
			}),
		advance(ms) {
			now += ms;
		},
		async tick(ms) {
			now += ms;
			for (const entry of due) {
				if (entry.at > now) continue;
				entry.call();
				if (entry.every === undefined) due.delete(entry);
				else entry.at = now + entry.every;
			}
			await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
		},
	};
}
