import { emitTo, type EventListener, type ProgressEvent } from "../core/events.ts";
import type { RateBoard, RateLimit } from "../core/rate-board.ts";
import type { HubEnvironment } from "./environment.ts";
import { describeLimit, limitHint } from "./http-errors.ts";
import type { GateBoard } from "./rate-gate.ts";

/** What the Hub counts: requests to its API, and to files. */
const HUB_BUCKETS: readonly string[] = ["api", "resolvers"];

/** Two times that differ by less are one, milliseconds: they are computed from rounded waits. */
const SAME_MS = 1000;

/** What of a Hub's limits the workers of a job share. What a CDN says concerns one address, and stays where it was said. */
export function shareLimits(
	board: RateBoard,
	{ endpoint, token }: Pick<HubEnvironment, "endpoint" | "token">,
	emit: EventListener,
): GateBoard {
	const { host } = new URL(endpoint);
	return {
		board,
		limitOf: (bucket) => (HUB_BUCKETS.includes(bucket) ? { host, bucket } : undefined),
		onClosed: (limit, delayMs) => emit(waitingEvent(limit, delayMs, token !== undefined)),
	};
}

/**
 * For a worker that sends nothing because another one does it for all: tells of every limit that keeps the other one waiting, once.
 *
 * @returns Looks at the board. Never rejects.
 */
export function watchLimits(
	board: RateBoard,
	{ endpoint, token }: Pick<HubEnvironment, "endpoint" | "token">,
	listener: EventListener | undefined,
): () => Promise<void> {
	const { host } = new URL(endpoint);
	const told = new Map<string, number>();
	return async () => {
		for (const bucket of HUB_BUCKETS) {
			const delayMs = await board.closedMs({ host, bucket });
			if (delayMs <= 0) continue;
			const until = Date.now() + delayMs;
			if (until <= (told.get(bucket) ?? 0) + SAME_MS) continue;
			told.set(bucket, until);
			emitTo(listener)(waitingEvent({ host, bucket }, delayMs, token !== undefined));
		}
	};
}

function waitingEvent(limit: RateLimit, delayMs: number, hasToken: boolean): ProgressEvent {
	const [reason, hint] = [describeLimit(limit), limitHint(hasToken)];
	return { kind: "waiting", reason, hint, delayMs, until: Date.now() + delayMs };
}
