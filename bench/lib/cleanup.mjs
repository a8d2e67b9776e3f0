// What must not outlive a benchmark that is interrupted: gigabytes in memory, servers.

const pending = new Set();

function runAll() {
	// Last first: processes were started in folders that were made before.
	for (const work of [...pending].toReversed()) work();
	pending.clear();
}

function listen() {
	if (process.listenerCount("exit", runAll) > 0) return;
	process.once("exit", runAll);
	// Without a listener a signal ends the process at once, and nothing is cleaned up.
	process.once("SIGINT", () => process.exit(130));
	process.once("SIGTERM", () => process.exit(143));
}

/**
 * Calls `work` when this process ends, by a signal too. It must be synchronous.
 *
 * @param {() => void} work
 * @returns {() => void} forgets it
 */
export function onExit(work) {
	listen();
	pending.add(work);
	return () => pending.delete(work);
}
