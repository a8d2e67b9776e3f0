/** One of the limits that a Hub counts requests against. */
export interface RateLimit {
	/** Of the Hub, with its port where that is not the scheme's: `huggingface.co`. */
	readonly host: string;
	/** What is counted: `api` or `resolvers`. */
	readonly bucket: string;
}

/** The longest time a used up limit is waited for, milliseconds. The Hub's windows last five minutes. */
export const MAX_RATE_WAIT_MS: number = 15 * 60_000;

/**
 * Where the workers of a job tell one another that a limit is used up: they share one account or address, so what one is told goes
 * for all. Nothing of it ever fails a request: without a board, each worker finds out for itself.
 */
export interface RateBoard {
	/** Posts that `limit` is used up for `ms` from now, unless it is known to be for longer already. Never rejects. */
	close(limit: RateLimit, ms: number): Promise<void>;
	/** For how long from now `limit` is used up as far as anybody posted, milliseconds; 0 when it is not. Never rejects. */
	closedMs(limit: RateLimit): Promise<number>;
}
