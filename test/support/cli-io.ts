import type { CliIo } from "../../src/cli/io.ts";

/** A process in memory: a clock that only the test moves, and text that can be read back. */
export interface FakeIo extends CliIo {
	/** What was written to stdout so far. */
	out(): string;
	/** What was written to stderr since the last call. */
	takeErr(): string;
	/** Moves the clock and fires what is due. */
	advance(ms: number): void;
	/** Presses Ctrl-C. */
	interrupt(): void;
	/** Codes given to `exitNow`. */
	readonly exits: readonly number[];
}

/** Options of a terminal, for {@link createFakeIo}. */
export interface FakeTerminal {
	readonly isTTY?: boolean;
	readonly columns?: number;
}

/** An `io` for commands under test. */
export function createFakeIo(terminal: FakeTerminal = {}): FakeIo {
	let nowMs = 1000;
	let out = "";
	let err = "";
	const timers = new Set<{ everyMs: number; nextMs: number; tick: () => void }>();
	const listeners = new Set<() => void>();
	const exits: number[] = [];
	return {
		stdout: { write: (text) => (out += text), columns: 100 },
		stderr: { write: (text) => (err += text), ...terminal },
		env: {},
		clock: {
			now: () => nowMs,
			every(everyMs, tick) {
				const timer = { everyMs, nextMs: nowMs + everyMs, tick };
				timers.add(timer);
				return () => timers.delete(timer);
			},
		},
		onInterrupt(listener) {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		exitNow: (code) => exits.push(code),
		out: () => out,
		takeErr() {
			const taken = err;
			err = "";
			return taken;
		},
		advance(ms) {
			const endMs = nowMs + ms;
			for (;;) {
				const due = [...timers].toSorted((a, b) => a.nextMs - b.nextMs)[0];
				if (due === undefined || due.nextMs > endMs) break;
				nowMs = due.nextMs;
				due.nextMs += due.everyMs;
				due.tick();
			}
			nowMs = endMs;
		},
		interrupt() {
			for (const listener of listeners) listener();
		},
		exits,
	};
}
