import type {
	ChildListener,
	ChildResult,
	CliIo,
	Environment,
	StopSignal,
} from "../../src/cli/io.ts";

/** A process in memory: a clock that only the test moves, and text that can be read back. */
export interface FakeIo extends CliIo {
	/** What was written to stdout so far. */
	out(): string;
	/** What was written to stderr since the last call. */
	takeErr(): string;
	/** Moves the clock and fires what is due. */
	advance(ms: number): void;
	/** Presses Ctrl-C, or sends SIGTERM. */
	interrupt(signal?: StopSignal): void;
	/** Codes given to `exitNow`. */
	readonly exits: readonly number[];
	/** Child processes that were started. */
	readonly children: readonly FakeChild[];
}

/** A child process that does what the test says. */
export interface FakeChild {
	readonly args: readonly string[];
	readonly env: Environment;
	/** Signals that it was sent. */
	readonly signals: readonly string[];
	/** Writes a line to its stderr. */
	say(line: string | object): void;
	/** Ends it; waits until that was noticed. */
	end(result: Partial<ChildResult>): Promise<void>;
}

function createFakeChild(
	args: readonly string[],
	env: Environment,
	listener: ChildListener,
): { readonly child: FakeChild; readonly program: ReturnType<CliIo["startChild"]> } {
	let resolve: (result: ChildResult) => void = () => {};
	const ended = new Promise<ChildResult>((whenEnded) => {
		resolve = whenEnded;
	});
	const signals: string[] = [];
	const child: FakeChild = {
		args,
		env,
		signals,
		say: (line) => listener.onLine(typeof line === "string" ? line : JSON.stringify(line)),
		async end(result) {
			resolve({ code: 0, killedBy: undefined, stdout: "", ...result });
			await new Promise(setImmediate);
		},
	};
	return { child, program: { ended, kill: (signal) => signals.push(signal) } };
}

/** Options of a terminal, for {@link createFakeIo}. */
export interface FakeTerminal {
	readonly isLocalWorker?: boolean;
	readonly isTTY?: boolean;
	readonly columns?: number;
}

/** An `io` for commands under test. */
export function createFakeIo({ isLocalWorker = false, ...terminal }: FakeTerminal = {}): FakeIo {
	let nowMs = 1000;
	let out = "";
	let err = "";
	const timers = new Set<{ everyMs: number; nextMs: number; tick: () => void }>();
	const listeners = new Set<(signal: StopSignal) => void>();
	const children: FakeChild[] = [];
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
		isLocalWorker,
		startChild(args, env, listener) {
			const { child, program } = createFakeChild(args, env, listener);
			children.push(child);
			return program;
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
		interrupt(signal = "SIGINT") {
			for (const listener of listeners) listener(signal);
		},
		exits,
		children,
	};
}
