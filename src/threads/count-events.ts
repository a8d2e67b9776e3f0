import type { EventListener, ProgressEvent } from "../core/events.ts";

/** How weight bytes came over the network. */
export interface Transport {
	/** Most connections to one origin that were open at once, added up over the threads. */
	readonly connections: number;
	/** Lagging answers that were continued over another connection. */
	readonly hedges: number;
	/** Requests that did not go over the data plane, by the reason. */
	readonly fallbacks: { readonly [why: string]: number };
}

/** A listener that counts on the way. */
export interface EventCounts {
	readonly onEvent: EventListener;
	/** Requests that were sent again. */
	readonly retries: number;
	/** The last total that was told of. */
	readonly receivedBytes: number;
	readonly transport: Transport;
}

/** Passes every event on to `listener`. */
export function countEvents(listener: EventListener): EventCounts {
	let retries = 0;
	let receivedBytes = 0;
	let connections = 0;
	let hedges = 0;
	const fallbacks: { [why: string]: number } = {};
	const count = (event: ProgressEvent): void => {
		if (event.kind === "retry") retries++;
		else if (event.kind === "hedge") hedges++;
		else if (event.kind === "received") receivedBytes = event.bytes;
		else if (event.kind === "connections") connections = Math.max(connections, event.connections);
		else if (event.kind === "fallback") fallbacks[event.why] = (fallbacks[event.why] ?? 0) + 1;
	};
	return {
		onEvent(event) {
			count(event);
			listener(event);
		},
		get retries() {
			return retries;
		},
		get receivedBytes() {
			return receivedBytes;
		},
		get transport() {
			return { connections, hedges, fallbacks };
		},
	};
}
