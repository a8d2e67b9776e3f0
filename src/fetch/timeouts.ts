/** How patient the fetch layer is. The environment sets the stalls; {@link DEFAULT_TIMEOUTS} the rest. */
export interface HubTimeouts {
	/** Longest wait for a TCP and TLS connection, milliseconds. */
	readonly connectMs: number;
	/** Longest silence before the head of an answer and between two pieces of its body, milliseconds. */
	readonly stallMs: number;
	/** The same for a request that asks for metadata only, milliseconds. */
	readonly metadataStallMs: number;
	/** Length of the windows in which the throughput of one answer is measured, milliseconds. */
	readonly slowWindowMs: number;
	/** An answer slower than this over a whole window is cut and continued on a new connection. */
	readonly slowBytesPerSecond: number;
	/** Consecutive failures of a read that are tried again; bytes received set the count back. */
	readonly retries: number;
	/** First delay of the exponential backoff, milliseconds. */
	readonly backoffMs: number;
	/** Largest delay of the exponential backoff, milliseconds. */
	readonly backoffLimitMs: number;
	/** Longest use of a signed URL, milliseconds. */
	readonly refreshMs: number;
}

/**
 * The defaults.
 *
 * The Hub signs URLs for 3600 s, so they are renewed at 50 minutes. Eight retries from half a second on bridge an outage of
 * about a minute. 4 KiB/s is far below any link on which a conversion makes sense, even when it is shared by 16 connections.
 */
export const DEFAULT_TIMEOUTS: Omit<HubTimeouts, "stallMs" | "metadataStallMs"> = {
	connectMs: 10_000,
	slowWindowMs: 30_000,
	slowBytesPerSecond: 4096,
	retries: 8,
	backoffMs: 500,
	backoffLimitMs: 20_000,
	refreshMs: 50 * 60_000,
};
