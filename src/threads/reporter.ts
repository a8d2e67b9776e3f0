import type { ProgressEvent } from "../core/events.ts";
import type { FromThread } from "./messages.ts";

/** Time between two messages: more often than a display is drawn, seldom enough to cost nothing. */
const INTERVAL_MS = 100;

/** Collects the events of a thread. */
export interface Reporter {
	readonly onEvent: (event: ProgressEvent) => void;
	/** Sends what is left and stops. */
	stop(): void;
}

/** Passes events on about ten times a second; retries, waits and warnings at once. */
export function createReporter(tell: (message: FromThread) => void): Reporter {
	let receivedBytes = 0;
	let writtenBytes = 0;
	let events: ProgressEvent[] = [];
	let isNew = false;
	const send = (): void => {
		if (!isNew) return;
		isNew = false;
		const sent = events;
		events = [];
		tell({ kind: "progress", receivedBytes, writtenBytes, events: sent });
	};
	const timer = setInterval(send, INTERVAL_MS);
	return {
		onEvent(event) {
			isNew = true;
			if (event.kind === "received") receivedBytes = event.bytes;
			else if (event.kind === "written") writtenBytes = event.bytes;
			else events.push(event);
			if (event.kind === "retry" || event.kind === "waiting" || event.kind === "warning") send();
		},
		stop() {
			clearInterval(timer);
			send();
		},
	};
}
