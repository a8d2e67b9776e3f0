import { setMaxListeners } from "node:events";
import { invariant } from "../core/errors.ts";
import { emitTo, type EventListener } from "../core/events.ts";
import type { ByteSource } from "../core/ports.ts";
import type { RateBoard } from "../core/rate-board.ts";
import { createAgent } from "./agent.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { HubEnvironment } from "./environment.ts";
import { createDataPlane } from "./data-plane/data-plane.ts";
import { createFileLocator, type FileLocator } from "./file-locator.ts";
import { listRepoFiles, pinCommit, readSmallFile } from "./hub-api.ts";
import { createHubClient } from "./hub-client.ts";
import { readRange } from "./range-reader.ts";
import type { RepoFile } from "./repo-files.ts";
import { assertRepoId } from "./repo-id.ts";
import { DEFAULT_TIMEOUTS, type HubTimeouts } from "./timeouts.ts";

/** Options of {@link createHubSession}. */
export interface HubSessionOptions {
	/** Connections to one origin at a time. */
	readonly connections: number;
	/** Ends everything the session does. */
	readonly signal?: AbortSignal | undefined;
	readonly onEvent?: EventListener | undefined;
	readonly timeouts?: Partial<HubTimeouts> | undefined;
	/** @default the machine's clock */
	readonly clock?: Clock | undefined;
	/** Where the workers of a job share the Hub's rate limits. @default each session finds out for itself */
	readonly board?: RateBoard | undefined;
}

/** What the listing says of one file to read. */
export interface FileFacts {
	readonly bytes: number;
	/** Lower-case hex; compared with what the Hub says each time it is asked for the file. */
	readonly sha256?: string | undefined;
}

/** Connections to one Hub and everything that is read over them. Every method rejects with `signal.reason` after an abort. */
export interface HubSession extends AsyncDisposable {
	/**
	 * Pins a revision to its commit.
	 *
	 * @param revision - Branch, tag or commit.
	 * @throws {HfStreamDcpError} `HUB_NOT_FOUND`, `HUB_GATED`, `HUB_UNAUTHORIZED`, `HUB_RATE_LIMITED`, `OFFLINE`,
	 * `NETWORK_FAILED`, `HTTP_STATUS`; `OPTIONS_INVALID` when `repo` cannot be a name.
	 */
	pin(repo: string, revision: string): Promise<{ readonly commit: string }>;
	/** All files of a commit. Throws as {@link HubSession.pin}. */
	list(repo: string, commit: string): Promise<readonly RepoFile[]>;
	/**
	 * A whole small file. Throws as {@link HubSession.pin}, and `SOURCE_UNREADABLE` when it has more than `limitBytes`.
	 */
	readFile(repo: string, commit: string, path: string, limitBytes: number): Promise<Uint8Array>;
	/**
	 * Ranges of the files of a commit. Nothing is asked before the first read; each file is then resolved once. The connections stay
	 * the session's: disposing the source only ends its reads.
	 *
	 * @param files - By path; the only ones that can be read.
	 */
	byteSource(repo: string, commit: string, files: ReadonlyMap<string, FileFacts>): ByteSource;
}

/** Opens a session. No request is sent yet. */
export function createHubSession(
	environment: HubEnvironment,
	options: HubSessionOptions,
): HubSession {
	const timeouts: HubTimeouts = {
		...DEFAULT_TIMEOUTS,
		stallMs: environment.downloadTimeoutMs,
		metadataStallMs: environment.metadataTimeoutMs,
		...options.timeouts,
	};
	const agent = createAgent(environment, options.connections, timeouts);
	const clock = options.clock ?? systemClock;
	const emit = emitTo(options.onEvent);
	const carrier = { agent, clock, timeouts };
	const { connections } = options;
	const dataPlane = createDataPlane({ ...carrier, environment, connections, emit });
	const { board } = options;
	const client = createHubClient(environment, { ...carrier, dataPlane, board }, emit);
	const closing = new AbortController();
	const signal = anySignal([closing.signal, options.signal]);
	const count = countReceived(emit);
	return {
		pin: async (repo, revision) => {
			assertRepoId(repo);
			return { commit: await pinCommit(client, repo, revision, signal) };
		},
		list: async (repo, commit) => {
			assertRepoId(repo);
			return listRepoFiles(client, repo, commit, signal);
		},
		readFile: async (repo, commit, path, limitBytes) => {
			assertRepoId(repo);
			return readSmallFile(client, { repo, commit, path }, limitBytes, signal);
		},
		byteSource: (repo, commit, files) => {
			const ending = new AbortController();
			const source = anySignal([signal, ending.signal]);
			const locators = new Map<string, FileLocator>();
			return {
				readInto: async (range, into, { signal: own } = {}) => {
					const facts = files.get(range.file);
					invariant(facts !== undefined, `${range.file} is not a file of this source`);
					const file = { repo, commit, path: range.file, ...facts };
					const locator = locators.get(range.file) ?? createFileLocator(client, file, source);
					locators.set(range.file, locator);
					const either = anySignal([source, own]);
					try {
						const received = count.add;
						await readRange({ client, locator, file, range, into, received, signal: either });
					} finally {
						count.tell();
					}
				},
				[Symbol.asyncDispose]: async () => ending.abort(closed("source")),
			};
		},
		[Symbol.asyncDispose]: async () => {
			closing.abort(closed("session"));
			dataPlane.close();
			await agent.destroy();
		},
	};
}

/** A signal of its own for all of `signals`. Every read that runs listens to it, so Node is told not to take that for a leak. */
function anySignal(signals: readonly (AbortSignal | undefined)[]): AbortSignal {
	const any = AbortSignal.any(signals.filter((signal) => signal !== undefined));
	setMaxListeners(0, any);
	return any;
}

function closed(what: string): Error {
	return new Error(`the Hub ${what} was closed`);
}

/** TLS delivers 16 KiB at a time: an event for each would cost more than it tells. */
const BYTES_PER_EVENT = 1024 * 1024;

/** Counts what all sources of a session receive; the event carries the total. */
function countReceived(emit: EventListener): {
	readonly add: (bytes: number) => void;
	readonly tell: () => void;
} {
	let total = 0;
	let told = 0;
	const tell = (): void => {
		if (total === told) return;
		told = total;
		emit({ kind: "received", bytes: total });
	};
	return {
		tell,
		add: (bytes) => {
			total += bytes;
			if (total - told >= BYTES_PER_EVENT) tell();
		},
	};
}
