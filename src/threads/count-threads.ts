import type { EventListener } from "../core/events.ts";
import type { ThreadListener } from "./thread.ts";

/** What one run of one part of a share has told of so far. */
export interface PartCount {
	receivedBytes: number;
	writtenBytes: number;
	/** Requests for weight bytes, without retries. */
	requests: number;
}

/** Adds up what the threads of a share count. */
export interface ThreadsCount {
	/** A thread begins or, after the loss of another one, goes on with a part of the share: it counts from 0. */
	begin(part: number): {
		readonly count: PartCount;
		readonly onProgress: ThreadListener["onProgress"];
	};
}

/**
 * Makes totals of what each thread tells, and passes on what else it tells.
 *
 * @param receivedBytes - Received before: the counters of the events go on from there.
 */
export function countThreads(receivedBytes: number, onEvent: EventListener): ThreadsCount {
	let received = receivedBytes;
	let written = 0;
	const connections: number[] = [];
	const finished = new Set<number>();
	return {
		begin(part) {
			const count: PartCount = { receivedBytes: 0, writtenBytes: 0, requests: 0 };
			connections[part] = 0;
			const onProgress: ThreadListener["onProgress"] = (told) => {
				if (told.receivedBytes > count.receivedBytes) {
					received += told.receivedBytes - count.receivedBytes;
					count.receivedBytes = told.receivedBytes;
					onEvent({ kind: "received", bytes: received });
				}
				if (told.writtenBytes > count.writtenBytes) {
					written += told.writtenBytes - count.writtenBytes;
					count.writtenBytes = told.writtenBytes;
					onEvent({ kind: "written", bytes: written });
				}
				for (const event of told.events) {
					if (event.kind === "request" && event.attempt === 1) count.requests++;
					if (event.kind === "connections") {
						connections[part] = event.connections;
						const open = connections.reduce((sum, one) => sum + one, 0);
						onEvent({ kind: "connections", connections: open });
					} else if (event.kind !== "entry" || !finished.has(event.index)) {
						// An entry that was finished twice, because a thread was lost before that was written down, is one.
						if (event.kind === "entry") finished.add(event.index);
						onEvent(event);
					}
				}
			};
			return { count, onProgress };
		},
	};
}
