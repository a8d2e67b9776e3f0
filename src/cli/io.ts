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

/** The process as the commands see it: everything that a test exchanges. */
export interface CliIo {
	/** Results. */
	readonly stdout: TextSink;
	/** Progress, warnings and errors. */
	readonly stderr: TextSink;
	readonly env: { readonly [name: string]: string | undefined };
	readonly clock: Clock;
	/** Calls `listener` on Ctrl-C and SIGTERM until the returned function is called. */
	onInterrupt(listener: () => void): () => void;
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
