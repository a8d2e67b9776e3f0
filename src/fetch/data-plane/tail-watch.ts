import type { Clock } from "../clock.ts";
import type { BodyProgress } from "./answer.ts";

/** Finds bodies that keep everybody waiting at the end although others came quickly. */
export interface TailWatch {
	/** Watches a body until the returned function is called. */
	add(body: BodyProgress): () => void;
}

/** What {@link createTailWatch} needs. */
export interface TailWatchOptions {
	readonly clock: Clock;
	/** Whether requests wait for a connection: then it is not the tail yet, and nothing is gained by a cut. */
	readonly isWaiting: () => boolean;
	/** A body lags: its rest should be asked for again, over another connection. */
	readonly lags: (body: BodyProgress) => void;
}

/** Bodies are looked at this often, milliseconds; a rate is that of the time between two looks. */
const LOOK_MS = 1000;

/** Rates of the last bodies say what is usual; with fewer than this many nothing is. */
const MIN_RATES = 4;
const MAX_RATES = 16;

/** Bodies smaller than this say little about a rate, and are not worth a second request. */
const MIN_BODY_BYTES = 1024 * 1024;

/** A body lags when it would take so many times as long as a usual one, */
const LAG_FACTOR = 3;
/** and this much longer, milliseconds: what a new connection may cost. */
const LAG_MS = 2000;
/** It must do so at as many looks in a row: a busy moment of either side is no lag. */
const LAGGING_LOOKS = 2;

/** Cuts without a body that came whole between them: more do not help where the origin itself has become slow. */
const MAX_CUTS = 4;

/** Whether the rest of a body is worth asking for again. Rates in bytes per millisecond. */
export function isLagging(leftBytes: number, rate: number, usualRate: number): boolean {
	const usualMs = leftBytes / usualRate;
	return leftBytes / rate > LAG_FACTOR * usualMs + LAG_MS;
}

interface Watched {
	readonly body: BodyProgress;
	readonly startedAt: number;
	lookedAt: number;
	lookedBytes: number;
	/** Looks in a row at which it lagged. */
	lagged: number;
}

/** Watches the bodies of one origin. */
export function createTailWatch(options: TailWatchOptions): TailWatch {
	const { clock, isWaiting, lags } = options;
	const watched = new Set<Watched>();
	const rates: number[] = [];
	let looking: AbortController | undefined;
	let cuts = 0;

	const look = (): void => {
		const usual = rates.toSorted((a, b) => a - b)[rates.length >> 1] ?? 0;
		for (const one of watched) {
			const { body, lookedAt, lookedBytes } = one;
			const [now, bytes] = [clock.now(), body.receivedBytes()];
			one.lookedAt = now;
			one.lookedBytes = bytes;
			const rate = (bytes - lookedBytes) / (now - lookedAt);
			const lagsNow =
				rates.length >= MIN_RATES &&
				!isWaiting() &&
				isLagging(body.totalBytes - bytes, rate, usual);
			one.lagged = lagsNow ? one.lagged + 1 : 0;
			if (one.lagged < LAGGING_LOOKS || cuts >= MAX_CUTS) continue;
			cuts++;
			lags(body);
		}
	};
	const run = async (signal: AbortSignal): Promise<void> => {
		for (;;) {
			await clock.wait(LOOK_MS, signal);
			look();
		}
	};
	return {
		add(body) {
			if (body.totalBytes < MIN_BODY_BYTES) return () => {};
			const now = clock.now();
			const one = { body, startedAt: now, lookedAt: now, lookedBytes: 0, lagged: 0 };
			watched.add(one);
			if (looking === undefined) {
				looking = new AbortController();
				// The only rejection is that of the wait, when nothing is left to watch.
				run(looking.signal).catch(() => {});
			}
			return () => {
				watched.delete(one);
				if (body.receivedBytes() === body.totalBytes) {
					cuts = 0;
					rates.push(body.totalBytes / Math.max(1, clock.now() - one.startedAt));
					if (rates.length > MAX_RATES) rates.shift();
				}
				if (watched.size > 0) return;
				looking?.abort();
				looking = undefined;
			};
		},
	};
}
