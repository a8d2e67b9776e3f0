import type { CliIo } from "./io.ts";

/** What the shell expects of a program that Ctrl-C ended: 128 + SIGINT. */
export const EXIT_INTERRUPTED = 130;

/** The reason of the abort signal when a person or a scheduler asks the program to stop. */
export class InterruptedError extends Error {
	constructor() {
		super("interrupted");
		this.name = "InterruptedError";
	}
}

/** An abort signal that Ctrl-C and SIGTERM trigger. */
export interface Interrupts extends Disposable {
	readonly signal: AbortSignal;
}

/** The first interrupt calls `onFirst` and aborts the signal; the second ends the process at once. */
export function watchInterrupts(io: CliIo, onFirst: () => void): Interrupts {
	const controller = new AbortController();
	const stop = io.onInterrupt(() => {
		if (controller.signal.aborted) {
			io.exitNow(EXIT_INTERRUPTED);
			return;
		}
		onFirst();
		controller.abort(new InterruptedError());
	});
	return { signal: controller.signal, [Symbol.dispose]: stop };
}
