/** What a command asks for, name by name, for people: `{ model: "org/name", mesh: "dp-shard 8", … }`. */
export type CommandFacts = { readonly [name: string]: string };

/** What was done, in numbers. Bytes, but for the counts. */
export interface WorkFigures {
	readonly seconds: number;
	readonly fetchedBytes: number;
	readonly requests: number;
	readonly retries: number;
	readonly writtenBytes: number;
	readonly entries: number;
	/** Entries that earlier attempts had finished. */
	readonly resumedEntries: number;
}

/** Totals of a share at one moment: seconds since its work began, then bytes fetched, bytes written, retries. */
export type TimePoint = readonly [
	seconds: number,
	fetchedBytes: number,
	writtenBytes: number,
	retries: number,
];

/** When one share was worked on by whoever finished it, and how it went on. */
export interface ShareTimeline {
	readonly share: number;
	/** ISO 8601, by the clock of the worker. */
	readonly begun: string;
	readonly ended: string;
	/** How often it was begun, this time included. */
	readonly attempts: number;
	/** Whether it belonged to another worker. */
	readonly takenOver: boolean;
	/** Ascending, evenly spread; the last one is the end. At most 240. */
	readonly points: readonly TimePoint[];
}

/** What was done for one share by whoever finished it: the figures are of the last attempt. */
export interface ShareReport extends WorkFigures {
	readonly share: number;
	/** Index of the worker. */
	readonly worker: number;
	readonly host: string;
	/** How often it was begun, this time included; more than once after a crash, a stop or a take-over. */
	readonly attempts: number;
	/** Whether the worker finished what belonged to another. */
	readonly takenOver: boolean;
	readonly timeline?: ShareTimeline | undefined;
}

/** What one worker did, added up over its shares. */
export interface WorkerSummary extends WorkFigures {
	readonly worker: number;
	readonly host: string;
	readonly shares: readonly number[];
	/** Shares that belonged to others. */
	readonly takeovers: number;
	/** One of each share, in the order of `shares`. */
	readonly timelines?: readonly ShareTimeline[] | undefined;
}

/** What a job did; also the content of `summary.json`. What attempts fetched that did not finish their share is not counted. */
export interface JobSummary {
	readonly format: "hf-stream-dcp summary 1";
	readonly tool: string;
	readonly command: CommandFacts;
	/** Identity of the plan. */
	readonly planId: string;
	/** Commit of the source. */
	readonly commit: string;
	/** ISO 8601, by the clocks of who began and of who committed. */
	readonly begun: string;
	readonly ended: string;
	/** From the beginning, by whichever attempt, to the commit. */
	readonly seconds: number;
	readonly shares: number;
	/** Bytes of the data files, and their number. */
	readonly dataBytes: number;
	readonly files: number;
	readonly metadataBytes: number;
	/** Sums over the workers. */
	readonly fetchedBytes: number;
	readonly requests: number;
	readonly retries: number;
	readonly takeovers: number;
	readonly workers: readonly WorkerSummary[];
}
