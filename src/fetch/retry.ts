import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import type { EventListener } from "../core/events.ts";
import type { Clock } from "./clock.ts";
import type { HubTimeouts } from "./timeouts.ts";

/** What {@link retry} needs besides the work. */
export interface RetryOptions {
	/** What is tried, for people: a file or an endpoint. */
	readonly what: string;
	readonly clock: Clock;
	readonly timeouts: Pick<HubTimeouts, "retries" | "backoffMs" | "backoffLimitMs">;
	readonly emit: EventListener;
	readonly signal?: AbortSignal | undefined;
	/** A number that grows with every success on the way; growth sets the count of failures back. */
	readonly progress?: () => number;
}

/** Exponential backoff: a random point in the upper half of the doubled delay, so that siblings do not come back together. */
function backoffMs(failures: number, options: RetryOptions): number {
	const { timeouts, clock } = options;
	const full = Math.min(timeouts.backoffLimitMs, timeouts.backoffMs * 2 ** (failures - 1));
	return (full * (1 + clock.random())) / 2;
}

/**
 * Whether a request ended through no fault of the peer's: cut because it lagged behind others (`hedged`), or lost with a
 * connection that was closed before the answer began (`unanswered`). Both can happen only so often in a row.
 */
function saysAgain(error: HfStreamDcpError, { emit, what }: RetryOptions): boolean {
	const { again } = error.facts;
	if (again === "hedged") emit({ kind: "hedge", what });
	else if (again === "unanswered") emit({ kind: "retry", what, reason: error.message, delayMs: 0 });
	else return false;
	return true;
}

function gaveUp(error: HfStreamDcpError, tries: number): HfStreamDcpError {
	const { code, hint, retryable, facts } = error;
	return new HfStreamDcpError(code, `${error.message} (gave up after ${tries} tries)`, {
		hint,
		retryable,
		facts,
		cause: error.cause ?? error,
	});
}

/**
 * Calls `attempt` until it succeeds, fails for good, or has failed too often in a row.
 *
 * What is no failure of the peer (fact `again`) is asked for again at once.
 * Only errors marked `retryable` are tried again; a fact `retryAfterMs` prolongs the backoff. A failure for slowness counts
 * even when bytes arrived, otherwise a peer that drips would be asked forever.
 *
 * @param attempt - Gets its number, from 1.
 * @throws The last error; `signal.reason` once the signal aborts.
 */
export async function retry<T>(
	options: RetryOptions,
	attempt: (number: number) => Promise<T>,
): Promise<T> {
	const { signal, progress = () => 0 } = options;
	let failures = 0;
	let reached = progress();
	for (let number = 1; ; number++) {
		signal?.throwIfAborted();
		try {
			return await attempt(number);
		} catch (error) {
			signal?.throwIfAborted();
			if (!isHfStreamDcpError(error) || !error.retryable) throw error;
			if (saysAgain(error, options)) continue;
			if (progress() > reached && error.facts["tooSlow"] !== true) failures = 0;
			reached = progress();
			failures++;
			if (failures > options.timeouts.retries) throw gaveUp(error, failures);
			const asked = error.facts["retryAfterMs"];
			// Never shorter than the backoff: some servers say `Retry-After: 0` as long as they are down.
			const delayMs = Math.max(typeof asked === "number" ? asked : 0, backoffMs(failures, options));
			options.emit({ kind: "retry", what: options.what, reason: error.message, delayMs });
			await options.clock.wait(delayMs, signal);
		}
	}
}
