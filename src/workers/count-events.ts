import type { EventListener } from "../core/events.ts";

/** A listener that counts on the way. */
export interface EventCounts {
	readonly onEvent: EventListener;
	/** Requests that were sent again. */
	readonly retries: number;
	/** The last total that was told of. */
	readonly receivedBytes: number;
}

/** Passes every event on to `listener`. */
export function countEvents(listener: EventListener): EventCounts {
	let retries = 0;
	let receivedBytes = 0;
	return {
		onEvent(event) {
			if (event.kind === "retry") retries++;
			if (event.kind === "received") receivedBytes = event.bytes;
			listener(event);
		},
		get retries() {
			return retries;
		},
		get receivedBytes() {
			return receivedBytes;
		},
	};
}
