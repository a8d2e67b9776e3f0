import { Worker } from "node:worker_threads";
import { invariant } from "../core/errors.ts";

/** Ends this process when its parent is another one than at the start, also while the main thread hangs in native code. */
const WATCH_PARENT = `
const parent = process.ppid;
setInterval(() => {
	if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
}, 1000);
`;

/**
 * Makes this process, which `startChild` started, end with its parent, also when that is killed, and leave signals to it: a terminal and
 * a launcher send them to the whole group, and the parent says what is to be done.
 *
 * @returns How to tell the parent something. It does nothing when the parent is gone.
 */
export function serveParent(): (message: object) => void {
	invariant(process.send !== undefined, "this is the program of a process that was started");
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
	// By a signal: the destructors of a driver have been seen to crash and to hang.
	process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
	const watch = new Worker(WATCH_PARENT, { eval: true, execArgv: [] });
	watch.unref();
	return (message) => void process.send?.(message, undefined, undefined, () => {});
}
