import { setMaxListeners } from "node:events";

/**
 * Concurrent work that fails as one: the first failure aborts the rest, and nothing outlives the scope. What a task holds
 * (memory, a write buffer) therefore stays valid until the task itself lets go of it.
 */
export interface TaskScope {
	/** Aborted by the first failure, and when the parent signal is. */
	readonly signal: AbortSignal;
	/**
	 * Starts a task. The promise never rejects: it becomes `true` when the task succeeded, and `false` when it failed, which
	 * fails the scope.
	 */
	run(task: () => Promise<void>): Promise<boolean>;
	/**
	 * Waits until every task has settled, also those that tasks started meanwhile.
	 *
	 * @throws the first failure; the parent's reason when that was an abort.
	 */
	settled(): Promise<void>;
}

/** Opens a scope. */
export function createTaskScope(parent?: AbortSignal): TaskScope {
	const controller = new AbortController();
	// Every read in flight listens; Node would take more than ten for a leak.
	setMaxListeners(0, controller.signal);
	const running = new Set<Promise<boolean>>();
	let failure: { readonly error: unknown } | undefined;
	const fail = (error: unknown): void => {
		if (failure !== undefined) return;
		failure = { error };
		controller.abort(error);
	};
	const onParentAbort = (): void => fail(parent?.reason);
	if (parent?.aborted === true) onParentAbort();
	parent?.addEventListener("abort", onParentAbort, { once: true });

	const attempt = async (task: () => Promise<void>): Promise<boolean> => {
		try {
			await task();
			return true;
		} catch (error) {
			fail(error);
			return false;
		}
	};
	return {
		signal: controller.signal,
		async run(task) {
			const promise = attempt(task);
			running.add(promise);
			try {
				return await promise;
			} finally {
				running.delete(promise);
			}
		},
		async settled() {
			while (running.size > 0) await Promise.all(running);
			parent?.removeEventListener("abort", onParentAbort);
			if (failure !== undefined) throw failure.error;
		},
	};
}
