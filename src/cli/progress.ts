import type { ProgressEvent } from "../index.ts";
import { formatBytes, formatCount, formatDuration, plural } from "./format.ts";
import type { CliIo, TextSink } from "./io.ts";

/** How progress is written: `text` for people, `json` for one object per line. */
export type LogFormat = "text" | "json";

/** How a progress display looks. */
export interface ProgressOptions {
	readonly format: LogFormat;
	/** Warnings only. */
	readonly quiet: boolean;
	/** Which of several workers speaks, in a log that all of them may write to. */
	readonly worker?: { readonly index: number; readonly count: number } | undefined;
	/** Time between two lines in a log, milliseconds. @default 5000 */
	readonly intervalMs?: number | undefined;
}

/** How far the work is. Totals since the start. */
export interface ProgressTotals {
	readonly phase: string;
	readonly receivedBytes: number;
	readonly writtenBytes: number;
	readonly entriesDone: number;
	/** Of those, what earlier runs had finished. */
	readonly resumedEntries: number;
	/** `undefined` before the plan is made. */
	readonly totals: { readonly fetchBytes: number; readonly entries: number } | undefined;
}

/** A display that is fed events and ends with {@link Progress.stop}. */
export interface Progress {
	readonly onEvent: (event: ProgressEvent) => void;
	/** Shows totals that somebody else added up, in place of those that the events come to. */
	readonly show: (totals: ProgressTotals) => void;
	/** Writes a warning, which stays above the live line. */
	readonly warn: (message: string) => void;
	/** Removes the live line and stops the timer; no output afterwards. */
	stop(): void;
}

/** Time between two redraws of the live line. Faster than the eye needs costs CPU time of the stream. */
const LIVE_INTERVAL_MS = 200;

/** Time between two lines in a log. */
const LINE_INTERVAL_MS = 5000;

/** The rate is the mean over about this long, so that one slow range does not make it jump. */
const RATE_WINDOW_MS = 10_000;

interface State extends Writable<ProgressTotals> {
	retries: number;
	lastRetry: string | undefined;
	/** Oldest first; the first is at most one window old. */
	samples: { readonly atMs: number; readonly bytes: number }[];
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const PHASE_WORDS: { readonly [phase: string]: string } = {
	resolve: "resolving the source",
	headers: "reading headers",
	plan: "planning",
	stream: "streaming",
	commit: "committing",
};

function apply(state: State, event: ProgressEvent): void {
	switch (event.kind) {
		case "phase":
			state.phase = event.phase;
			break;
		case "planned":
			state.totals = event;
			break;
		case "received":
			state.receivedBytes = event.bytes;
			break;
		case "written":
			state.writtenBytes = event.bytes;
			break;
		case "entry":
			state.entriesDone++;
			if (event.resumed) state.resumedEntries++;
			break;
		case "retry":
			state.retries++;
			state.lastRetry = `${event.what}: ${event.reason}`;
			break;
		case "request":
		case "waiting":
		case "hedge":
		case "fallback":
		case "connections":
		case "warning":
			break;
	}
}

function bytesPerSecond(state: State, nowMs: number): number {
	while (state.samples.length > 1 && nowMs - (state.samples[1]?.atMs ?? nowMs) >= RATE_WINDOW_MS) {
		state.samples.shift();
	}
	const first = state.samples[0];
	state.samples.push({ atMs: nowMs, bytes: state.receivedBytes });
	if (first === undefined || nowMs <= first.atMs) return 0;
	return ((state.receivedBytes - first.bytes) * 1000) / (nowMs - first.atMs);
}

/** Bytes still to fetch. Entries of an earlier run are taken to be of mean size: the events do not say theirs. */
function remainingBytes(state: State): number | undefined {
	if (state.totals === undefined) return undefined;
	const { fetchBytes, entries } = state.totals;
	const fresh = entries === 0 ? 0 : 1 - state.resumedEntries / entries;
	return Math.max(0, fetchBytes * fresh - state.receivedBytes);
}

function describe(state: State, rate: number, isLog: boolean): string {
	const retries = describeRetries(state, isLog);
	if (state.totals === undefined || state.phase !== "stream") {
		return [PHASE_WORDS[state.phase] ?? state.phase, ...retries].join(" · ");
	}
	const { fetchBytes, entries } = state.totals;
	const remaining = remainingBytes(state) ?? 0;
	const parts = [
		`${formatBytes(state.receivedBytes)} of ${formatBytes(state.receivedBytes + remaining)}`,
		`${formatBytes(rate)}/s`,
		rate > 0 ? `ETA ${formatDuration(remaining / rate)}` : "ETA –",
		`${formatCount(state.entriesDone)}/${formatCount(entries)} entries`,
	];
	if (fetchBytes === 0) parts.splice(0, 3);
	return [...parts, ...retries].join(" · ");
}

function describeRetries(state: State, isLog: boolean): string[] {
	if (state.retries === 0) return [];
	const last = isLog && state.lastRetry !== undefined ? ` (last: ${state.lastRetry})` : "";
	return [`${plural(state.retries, "retry", "retries")}${last}`];
}

function describeWaiting(event: Extract<ProgressEvent, { kind: "waiting" }>): string {
	const { reason, hint, delayMs, until } = event;
	const time = new Date(until).toISOString().slice(11, 19);
	return `another worker was told that ${reason}: waiting ${formatDuration(delayMs / 1000)}, until ${time} UTC. ${hint}`;
}

function toJson(state: State, rate: number, seconds: number): object {
	const remaining = remainingBytes(state);
	return {
		kind: "progress",
		seconds: Number(seconds.toFixed(1)),
		phase: state.phase,
		receivedBytes: state.receivedBytes,
		fetchBytes: state.totals?.fetchBytes,
		writtenBytes: state.writtenBytes,
		entriesDone: state.entriesDone,
		resumedEntries: state.resumedEntries,
		entries: state.totals?.entries,
		retries: state.retries,
		bytesPerSecond: Math.round(rate),
		etaSeconds: rate > 0 && remaining !== undefined ? Math.round(remaining / rate) : undefined,
	};
}

/** Terminals that do not know their width say 0. */
function widthOf({ columns = 0 }: TextSink): number {
	return columns > 0 ? columns : 80;
}

/** One line that fits the terminal: a wrapped line cannot be rewritten. */
function fit(text: string, columns: number): string {
	return text.length < columns ? text : `${text.slice(0, Math.max(0, columns - 2))}…`;
}

/** A display on stderr: one rewritten line on a terminal, elsewhere a line every five seconds. Warnings stay either way. */
export function createProgress(io: CliIo, options: ProgressOptions): Progress {
	const { stderr, clock } = io;
	const startMs = clock.now();
	const state: State = {
		phase: "resolve",
		receivedBytes: 0,
		writtenBytes: 0,
		entriesDone: 0,
		resumedEntries: 0,
		retries: 0,
		lastRetry: undefined,
		totals: undefined,
		samples: [{ atMs: startMs, bytes: 0 }],
	};
	const isLive = stderr.isTTY === true && options.format === "text" && !options.quiet;
	let isLineShown = false;

	const clearLine = (): void => {
		if (isLineShown) stderr.write("\r\u001B[2K");
		isLineShown = false;
	};
	const several =
		options.worker !== undefined && options.worker.count > 1 ? options.worker : undefined;
	const who = several === undefined ? "" : `worker ${several.index}: `;
	const writeJson = (record: object): unknown =>
		stderr.write(`${JSON.stringify({ ...record, worker: several?.index })}\n`);
	const warn = (message: string): void => {
		clearLine();
		if (options.format === "json") writeJson({ kind: "warning", message });
		else stderr.write(`warning: ${who}${message}\n`);
	};
	const tick = (): void => {
		const nowMs = clock.now();
		const rate = bytesPerSecond(state, nowMs);
		if (options.format === "json") {
			writeJson(toJson(state, rate, (nowMs - startMs) / 1000));
		} else if (isLive) {
			stderr.write(`\r\u001B[2K${fit(describe(state, rate, false), widthOf(stderr))}`);
			isLineShown = true;
		} else {
			stderr.write(`${who}${describe(state, rate, true)}\n`);
		}
	};
	/** Bytes of the headers' time would hold the rate down. */
	const startRate = (bytes: number): void => {
		state.samples = [{ atMs: clock.now(), bytes }];
	};
	const stopTimer = options.quiet
		? () => {}
		: clock.every(isLive ? LIVE_INTERVAL_MS : (options.intervalMs ?? LINE_INTERVAL_MS), tick);

	return {
		warn,
		onEvent(event) {
			if (event.kind === "phase" && event.phase === "stream") startRate(state.receivedBytes);
			apply(state, event);
			if (event.kind === "warning") warn(event.message);
			if (event.kind === "waiting") warn(describeWaiting(event));
			if (event.kind === "retry" && options.format === "json" && !options.quiet) writeJson(event);
		},
		show(totals) {
			if (totals.phase === "stream" && state.phase !== "stream") startRate(totals.receivedBytes);
			Object.assign(state, totals);
		},
		stop() {
			stopTimer();
			// Whoever adds up what workers say needs their last word.
			if (io.isLocalWorker) tick();
			clearLine();
		},
	};
}
