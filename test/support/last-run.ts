/** Remembers the run of a property that was begun last. */
export interface LastRun {
	/** Passes `run` through. */
	track<T>(run: Promise<T>): Promise<T>;
	/** Settles when that run has ended: fast-check leaves the one to itself that is under way when its time is over. Never rejects. */
	ended(): Promise<void>;
}

/** For properties with a time limit, whose runs leave something that is removed afterwards. */
export function createLastRun(): LastRun {
	let last: Promise<unknown> = Promise.resolve();
	return {
		track(run) {
			last = run;
			return run;
		},
		async ended() {
			// Whoever waited for it has heard of a failure.
			await last.catch(() => {});
		},
	};
}
