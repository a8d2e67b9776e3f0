import type { CliIo, StopSignal } from "./io.ts";

/** What the shell expects of a program that a signal ended: 128 and its number. */
const EXIT_CODE_OF: { readonly [S in StopSignal]: number } = { SIGINT: 130, SIGTERM: 143 };

/** The reason of the abort signal when a person or a scheduler asks the program to stop. */
export class InterruptedError extends Error {
	/** What the shell sees. */
	readonly exitCode: number;

	/** @param stopSignal - What asked for it. */
	constructor(stopSignal: StopSignal) {
		super("interrupted");
		this.name = "InterruptedError";
		this.exitCode = EXIT_CODE_OF[stopSignal];
	}
}

/** What is done about signals. */
export interface InterruptOptions {
	/** Called for the first signal, before the abort. */
	readonly onFirst: (signal: StopSignal) => void;
	/** After SIGTERM, how long orderly stopping may take, milliseconds; then the process ends at once. @default as long as it takes */
	readonly graceMs?: number | undefined;
	/** Called before the process ends at once. */
	readonly onLast?: (() => void) | undefined;
}

/** An abort signal that Ctrl-C and SIGTERM trigger. */
export interface Interrupts extends Disposable {
	readonly signal: AbortSignal;
}

/**
 * The first signal aborts; the second ends the process at once, but for a second SIGTERM: schedulers send it to a step and to each of its
 * processes, so that one comes twice, and what they grant is the grace period. A local worker leaves what is second to the process that
 * started it, which passes signals on that may have come here already.
 */
export function watchInterrupts(io: CliIo, options: InterruptOptions): Interrupts {
	const controller = new AbortController();
	let first: StopSignal | undefined;
	let stopTimer: (() => void) | undefined;
	const end = (signal: StopSignal): void => {
		stopTimer?.();
		options.onLast?.();
		io.exitNow(EXIT_CODE_OF[signal]);
	};
	const stop = io.onInterrupt((signal) => {
		if (first !== undefined) {
			const isRepeated = signal === "SIGTERM" && first === "SIGTERM";
			if (!isRepeated && !io.isLocalWorker) end(signal);
			return;
		}
		first = signal;
		options.onFirst(signal);
		controller.abort(new InterruptedError(signal));
		if (signal === "SIGTERM" && options.graceMs !== undefined) {
			stopTimer = io.clock.every(options.graceMs, () => end(signal));
		}
	});
	return {
		signal: controller.signal,
		[Symbol.dispose]() {
			stop();
			stopTimer?.();
		},
	};
}
