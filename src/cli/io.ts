/** Where text goes. */
export interface TextSink {
	write(text: string): unknown;
	/** Whether a person is watching a terminal. */
	readonly isTTY?: boolean | undefined;
	/** Width of the terminal in characters. */
	readonly columns?: number | undefined;
}

/** Time, so that tests need not wait. */
export interface Clock {
	/** Milliseconds since some fixed moment; never goes back. */
	now(): number;
	/** Calls `tick` every `intervalMs` until the returned function is called. Does not keep the process alive. */
	every(intervalMs: number, tick: () => void): () => void;
}

/** What asks a program to stop: a person's Ctrl-C, or a scheduler that takes the machine back. */
export type StopSignal = "SIGINT" | "SIGTERM";

/** What a child process tells. */
export interface ChildListener {
	/** A line of its stderr, without the line break. */
	readonly onLine: (line: string) => void;
}

/** How a child process ended. */
export interface ChildResult {
	/** `undefined` when a signal ended it. */
	readonly code: number | undefined;
	/** What ended it, if a signal did. */
	readonly killedBy: string | undefined;
	readonly stdout: string;
}

/** A running child process. */
export interface ChildProgram {
	/** @throws {Error} when it could not be started. */
	readonly ended: Promise<ChildResult>;
	/** Sends a signal; without effect on one that has ended. */
	kill(signal: StopSignal | "SIGKILL"): void;
}

/** Environment variables, as in `process.env`. */
export type Environment = { readonly [name: string]: string | undefined };

/** The process as the commands see it: everything that a test exchanges. */
export interface CliIo {
	/** Results. */
	readonly stdout: TextSink;
	/** Progress, warnings and errors. */
	readonly stderr: TextSink;
	readonly env: Environment;
	readonly clock: Clock;
	/** Whether another process of this program started this one as one of its workers. It is told to stop when that one is gone. */
	readonly isLocalWorker: boolean;
	/** Calls `listener` on Ctrl-C and SIGTERM until the returned function is called. */
	onInterrupt(listener: (signal: StopSignal) => void): () => void;
	/** Starts this program once more, as a child. */
	startChild(args: readonly string[], env: Environment, listener: ChildListener): ChildProgram;
	/** Ends the process at once. */
	exitNow(code: number): void;
}

/** The clock of this machine. */
export const systemClock: Clock = {
	now: () => performance.now(),
	every(intervalMs, tick) {
		const timer = setInterval(tick, intervalMs);
		timer.unref();
		return () => clearInterval(timer);
	},
};
