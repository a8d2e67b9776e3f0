import { MAX_RATE_WAIT_MS, type RateBoard, type RateLimit } from "../core/rate-board.ts";
import { abortableWait, type Clock } from "./clock.ts";

/** Holds back all requests of a bucket while its limit is used up. */
export interface RateGate {
	/** Waits until the bucket is open. */
	pass(bucket: string, signal?: AbortSignal): Promise<void>;
	/** Closes the bucket for `ms` from now, or longer if it is closed for longer already. */
	close(bucket: string, ms: number): void;
}

/** The board that a gate follows and feeds. */
export interface GateBoard {
	readonly board: RateBoard;
	/** What the board calls a bucket; `undefined` for one that is this gate's alone. */
	readonly limitOf: (bucket: string) => RateLimit | undefined;
	/** Called when the board, and nothing that this gate knew, closes a bucket for `ms` from now. */
	readonly onClosed: (limit: RateLimit, ms: number) => void;
}

/** What the board said is good for this long, milliseconds: a stream of requests must not become a stream of file operations. */
const LOOK_MS = 500;

/** A closing that lasts no longer than this beyond what is known tells nothing new, milliseconds: the Hub rounds to seconds. */
const SAME_MS = 1000;

/** Part of a wait, and most milliseconds, over which the workers of a job that wait together come back. */
const SPREAD_PART = 0.05;
const MAX_SPREAD_MS = 2000;

/**
 * A gate with every bucket open.
 *
 * @param shared - Buckets that the board knows are closed here as well when they are closed there. Looked at only when a request
 * of such a bucket passes, and at most every half second.
 */
export function createRateGate(clock: Clock, shared?: GateBoard): RateGate {
	const openAt = new Map<string, number>();
	const looks = new Map<string, { readonly at: number; readonly done: Promise<void> }>();

	const closeUntil = (bucket: string, time: number): void => {
		openAt.set(bucket, Math.max(openAt.get(bucket) ?? 0, time));
	};
	const follow = async (
		bucket: string,
		limit: RateLimit,
		{ board, onClosed }: GateBoard,
	): Promise<void> => {
		const ms = await board.closedMs(limit);
		if (ms <= 0 || ms > MAX_RATE_WAIT_MS) return;
		const until = clock.now() + ms;
		if (until <= (openAt.get(bucket) ?? 0) + SAME_MS) return closeUntil(bucket, until);
		const spread = clock.random() * Math.min(MAX_SPREAD_MS, ms * SPREAD_PART);
		closeUntil(bucket, until + spread);
		onClosed(limit, ms + spread);
	};
	/** One look serves all that come while it lasts. */
	const look = (bucket: string): Promise<void> | undefined => {
		const limit = shared?.limitOf(bucket);
		if (shared === undefined || limit === undefined) return undefined;
		const last = looks.get(bucket);
		if (last !== undefined && clock.now() - last.at < LOOK_MS) return last.done;
		const done = follow(bucket, limit, shared);
		looks.set(bucket, { at: clock.now(), done });
		return done;
	};
	return {
		close(bucket, ms) {
			closeUntil(bucket, clock.now() + ms);
			const limit = shared?.limitOf(bucket);
			// The board never rejects, and this session knows already: nobody waits for it.
			if (limit !== undefined) void shared?.board.close(limit, ms);
		},
		async pass(bucket, signal) {
			for (;;) {
				const left = (openAt.get(bucket) ?? 0) - clock.now();
				if (left > 0) await clock.wait(left, signal);
				else {
					const looking = look(bucket);
					if (looking !== undefined) await abortableWait(looking, signal);
					if ((openAt.get(bucket) ?? 0) <= clock.now()) return;
				}
			}
		},
	};
}
