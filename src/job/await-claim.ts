import type { Claim, Claims, Sighting } from "./claims.ts";
import { growingWaits, systemTimers, type Timers } from "./timers.ts";

/** What {@link awaitClaim} waits for. */
export interface AwaitClaimOptions {
	/** Whether there is nothing left to claim for. Asked before every look. */
	readonly isDone: () => Promise<boolean>;
	/** The longest time between two looks, milliseconds. */
	readonly everyMs: number;
	readonly signal?: AbortSignal | undefined;
	readonly timers?: Timers | undefined;
}

/**
 * Waits until something can be claimed, and claims it: at once when nobody holds it, otherwise when its holder gave it back or is dead.
 *
 * @returns The claim and what was seen before it; `undefined` when it is done.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`. @throws `signal.reason` when aborted.
 */
export async function awaitClaim(
	claims: Claims,
	options: AwaitClaimOptions,
): Promise<{ readonly claim: Claim; readonly before: Sighting } | undefined> {
	const { isDone, everyMs, signal, timers = systemTimers } = options;
	const wait = growingWaits(timers, everyMs, signal);
	for (;;) {
		signal?.throwIfAborted();
		if (await isDone()) return undefined;
		const before = await claims.look();
		if (before.state !== "alive") {
			const claim = await claims.take(before.number);
			if (claim !== undefined) return { claim, before };
		} else await wait();
	}
}
