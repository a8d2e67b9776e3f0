import { parentPort, workerData } from "node:worker_threads";
import { invariant } from "../core/errors.ts";
import { createReadBuffers, type FileRange } from "./read-ahead.ts";
import type { EntryVerdict } from "./entry-check.ts";
import type { FromScanThread, ScanTask, ToScanThread } from "./scan-messages.ts";
import { scanUnit } from "./scan-unit.ts";

// The program of a thread that scans units, one after the other. A failure that is not the file's ends it.

invariant(parentPort !== null, "this is the program of a thread that was started");
const port = parentPort;
const task = workerData as ScanTask;
const buffers = createReadBuffers(task.mostBytes);

/** Bytes after which what was found is told. */
const TELL_BYTES = 64 * 1024 * 1024;

const tell = (message: FromScanThread): void => port.postMessage(message);

async function scan({ index, unit }: ToScanThread): Promise<void> {
	let verdicts: (readonly [number, EntryVerdict])[] = [];
	let paddings: FileRange[] = [];
	let unreadable: string | undefined;
	let bytes = 0;
	const flush = (): void => {
		tell({ kind: "found", unit: index, verdicts, paddings, unreadable, bytes });
		[verdicts, paddings, unreadable, bytes] = [[], [], undefined, 0];
	};
	await scanUnit(task, index, unit, buffers, {
		onEntry: (_, item, verdict) => verdicts.push([item, verdict]),
		onPadding: (_, range) => paddings.push(range),
		onUnreadable: (_, reason) => (unreadable = reason),
		onRead(count) {
			bytes += count;
			if (bytes >= TELL_BYTES) flush();
		},
	});
	flush();
	tell({ kind: "ready" });
}

port.on("message", (message: ToScanThread) => {
	scan(message).catch((error: unknown) => {
		// Where the main thread hears of it.
		process.nextTick(() => {
			throw error;
		});
	});
});
tell({ kind: "ready" });
