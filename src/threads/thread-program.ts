import { parentPort, workerData } from "node:worker_threads";
import { invariant } from "../core/errors.ts";
import type { ThreadTask, ToThread } from "./messages.ts";
import { runTask } from "./run-task.ts";

// The program of every thread but the main one: does the task in `workerData` and tells the main thread of it.

invariant(parentPort !== null, "this is the program of a thread that was started");
const port = parentPort;

await runTask(workerData as ThreadTask, {
	tell: (message) => port.postMessage(message),
	listen: (listener) => void port.on("message", (message: ToThread) => listener(message)),
});
