/** How many connections to one origin are worth having at the moment. */
export interface ConnectionLimit {
	/** Connections allowed now; at least 1. */
	readonly value: number;
	/** Counts received bytes, and from time to time draws a conclusion from them. */
	received(bytes: number): void;
	/** A connection was lost. */
	lost(): void;
	/** The origin asked for less. */
	restrained(): void;
}

/** What {@link createConnectionLimit} needs. */
export interface ConnectionLimitOptions {
	/** Never more than this. */
	readonly max: number;
	/** Milliseconds on a clock that never goes back. */
	readonly now: () => number;
	/** Whether work waits for a connection: a rate without demand says nothing about the limit. */
	readonly isWaiting: () => boolean;
	/** Called when the limit rises. */
	readonly raised: () => void;
}

/** Connections to begin with. */
const START = 4;

/** A rate is measured over at least this long, milliseconds, */
const EPOCH_MS = 300;
/** and this many bytes for every connection, so that request boundaries do not matter. */
const EPOCH_BYTES = 4 * 2 ** 20;

/** More connections must bring at least this much. */
const WORTHWHILE_GAIN = 1.05;

/** Epochs before the next try: after a useless raise, a loss, and a request for restraint. */
const HOLD_AFTER_RAISE = 16;
const HOLD_AFTER_LOSS = 4;
const HOLD_AFTER_RESTRAINT = 64;

/** What is left of the limit: one lost connection may be an accident, and more of them add up; 429 and 503 mean what they say. */
const LEFT_AFTER_LOSS = 3 / 4;
const LEFT_AFTER_RESTRAINT = 1 / 2;

/** Connections added to a limit that has found its place. */
const STEP = 2;

/** A burst of losses has one cause and counts once, milliseconds. */
const LOSS_MS = 1000;

/**
 * A limit that climbs while throughput grows: doubled at first, two by two after the first raise that brought nothing, which is
 * taken back; lowered by a quarter for a loss, halved for a 429 or 503. The epoch after a raise is not judged: new connections are still starting.
 */
export function createConnectionLimit(options: ConnectionLimitOptions): ConnectionLimit {
	const { max, now, isWaiting, raised } = options;
	let value = Math.min(START, max);
	let isDoubling = true;
	let hold = 0;
	/** The raise on trial: what was before it. */
	let trial: { readonly value: number; readonly rate: number; hasSettled: boolean } | undefined;
	let epochStart = now();
	let epochBytes = 0;
	let lastLoss = Number.NEGATIVE_INFINITY;

	const begin = (): void => {
		epochStart = now();
		epochBytes = 0;
	};
	const raise = (rate: number): void => {
		trial = undefined;
		if (value >= max) return;
		trial = { value, rate, hasSettled: false };
		value = Math.min(max, isDoubling ? value * 2 : value + STEP);
		raised();
	};
	const judge = (rate: number): void => {
		if (trial === undefined) {
			if (hold > 0) hold--;
			else raise(rate);
		} else if (!trial.hasSettled) trial.hasSettled = true;
		else if (rate >= trial.rate * WORTHWHILE_GAIN) raise(rate);
		else {
			({ value } = trial);
			trial = undefined;
			isDoubling = false;
			hold = HOLD_AFTER_RAISE;
		}
	};
	const lower = (left: number, epochs: number): void => {
		if (now() - lastLoss < LOSS_MS) return;
		lastLoss = now();
		value = Math.max(1, Math.floor(value * left));
		trial = undefined;
		isDoubling = false;
		hold = epochs;
		begin();
	};
	return {
		get value() {
			return value;
		},
		received(bytes) {
			epochBytes += bytes;
			if (epochBytes < EPOCH_BYTES * value) return;
			const elapsed = now() - epochStart;
			if (elapsed < EPOCH_MS) return;
			const rate = epochBytes / elapsed;
			begin();
			if (isWaiting()) judge(rate);
		},
		lost: () => lower(LEFT_AFTER_LOSS, HOLD_AFTER_LOSS),
		restrained: () => lower(LEFT_AFTER_RESTRAINT, HOLD_AFTER_RESTRAINT),
	};
}
