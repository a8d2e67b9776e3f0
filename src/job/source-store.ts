import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { findDirectory } from "../fetch/open-directory.ts";
import { type OpenedSource, openSource, type OpenSourceOptions } from "../fetch/open-source.ts";
import { describeHere, reopenSource } from "../fetch/reopen-source.ts";
import { watchLimits } from "../fetch/shared-limits.ts";
import { publishFolder } from "../files/publish-folder.ts";
import { unlessMissing } from "../files/read-file.ts";
import { writing } from "../files/writing.ts";
import { VERSION } from "../version.ts";
import { Claims } from "./claims.ts";
import { createRateBoard, LIMITS_FOLDER } from "./rate-board.ts";
import { makeStateDirectory } from "./state.ts";
import { decodeSource, encodeSource, type StoredSource } from "./stored-source.ts";
import { growingWaits, systemTimers, type Timers } from "./timers.ts";

/** Folder of a job's state with what its source is. */
export const SOURCE_FOLDER = "source";

/** In {@link SOURCE_FOLDER}: the folder that comes to be at once, with everything in it. */
const OPENED_FOLDER = "opened";
const OPENED_NAME = "source";

/** The longest time between two looks at who reads the source, milliseconds. */
const LONGEST_WAIT_MS = 1000;

/** What {@link openJobSource} needs besides what opens a source. */
export interface JobSourceOptions extends Omit<OpenSourceOptions, "board"> {
	/** Where the state of the job is. It exists: what others removed because the job is done is not brought back. */
	readonly stateDirectory: string;
	/** Who this is, for people: `worker 3`. */
	readonly holder: string;
	/** How long a worker that reads the source and shows no sign of life is waited for, milliseconds. */
	readonly leaseMs: number;
	/** Version of the program. @default VERSION */
	readonly tool?: string | undefined;
	readonly timers?: Timers | undefined;
}

/** The source of a job. Dispose of it to close its connections or files. */
export interface JobSource extends OpenedSource {
	/** Whether this worker read the headers itself, or got them from one that did. */
	readonly origin: "read" | "stored";
}

/**
 * Opens the source of a job, of which all workers see `stateDirectory`: the first one asks the Hub for commit, listing, index,
 * configuration and headers and stores what it learned; the others, and all that start later, ask the Hub for nothing of it. The
 * commit holds for the whole job, wherever the branch points meanwhile. While one reads, the others wait; when it dies, another takes
 * over; when it fails, the others try themselves, one after the other, and fail with what the Hub tells them.
 *
 * Where the bytes come from, each worker decides for itself: from its own Hub cache when that has all files at the commit, else from
 * the Hub. A directory is opened by each worker, without the store: it costs nobody a request. All must see it under the same path,
 * or else their plans differ.
 *
 * @throws {HfStreamDcpError} what {@link openSource} throws; `PLAN_CHANGED` when the job's source was opened for another repository or
 * revision, or by another version of this program; `CHECKPOINT_CORRUPT` when what was stored is damaged; `OUTPUT_WRITE`, with the fact
 * `errno` `ENOENT` when the state is gone: others may have finished the job meanwhile.
 * @throws `signal.reason` when aborted.
 */
export async function openJobSource(options: JobSourceOptions): Promise<JobSource> {
	if ((await findDirectory(options.repo)) !== undefined) {
		return { ...(await openSource(options)), origin: "read" };
	}
	const directory = join(options.stateDirectory, SOURCE_FOLDER);
	await makeStateDirectory(directory);
	const { holder, leaseMs, timers = systemTimers, signal } = options;
	const claims = new Claims(directory, { holder, leaseMs, timers });
	const tellLimits = watchLimits(boardOf(options), options.environment, options.onEvent);
	const wait = growingWaits(timers, LONGEST_WAIT_MS, signal);
	for (;;) {
		signal?.throwIfAborted();
		const seen = await claims.look();
		if (seen.state === "alive") {
			await tellLimits();
			await wait();
			continue;
		}
		// Looked for only when it may be there: clients of network file systems remember for a while that a file is missing.
		const known = seen.state === "none" ? undefined : await readStored(directory);
		if (known !== undefined) return reopen(known, options);
		await using claim = await claims.take(seen.number);
		if (claim === undefined) continue;
		// Whoever held it may have stored it between the two looks.
		const meanwhile = await readStored(directory);
		if (meanwhile !== undefined) return await reopen(meanwhile, options);
		const opened = await openSource({ ...options, board: boardOf(options) });
		try {
			const stored = encodeSource(toStored(opened, options));
			const won = await publishFolder(join(directory, OPENED_FOLDER), OPENED_NAME, stored);
			if (won) return { ...opened, origin: "read" };
		} catch (error) {
			await opened[Symbol.asyncDispose]();
			throw error;
		}
		// Somebody took this worker for dead and was faster: all go by what is stored, which may be of another commit.
		await opened[Symbol.asyncDispose]();
	}
}

function boardOf({ stateDirectory }: JobSourceOptions): ReturnType<typeof createRateBoard> {
	return createRateBoard(join(stateDirectory, LIMITS_FOLDER));
}

function toStored(
	{ source, headerBytes, warnings }: OpenedSource,
	{ revision = "main", tool = VERSION }: JobSourceOptions,
): StoredSource {
	return { tool, revision, source, headerBytes, warnings };
}

async function readStored(directory: string): Promise<StoredSource | undefined> {
	const path = join(directory, OPENED_FOLDER, OPENED_NAME);
	const bytes = await writing("read", path, () => unlessMissing(() => readFile(path)));
	return bytes === undefined ? undefined : decodeSource(bytes, path);
}

/** Reads what was stored, over connections of this worker's own. */
async function reopen(stored: StoredSource, options: JobSourceOptions): Promise<JobSource> {
	const { source, headerBytes, warnings } = stored;
	assertSame(stored, options);
	const { environment, connections, signal, onEvent } = options;
	const description = await describeHere(source, environment);
	const board = boardOf(options);
	const bytes = reopenSource(description, { environment, connections, signal, onEvent, board });
	return {
		kind: description.kind,
		origin: "stored",
		source,
		bytes,
		headerBytes,
		warnings,
		[Symbol.asyncDispose]: () => bytes[Symbol.asyncDispose](),
	};
}

/** The job's commit may also be asked for by its own name. */
function assertSame(stored: StoredSource, options: JobSourceOptions): void {
	const { repo, revision = "main", tool = VERSION, stateDirectory } = options;
	const { repo: storedRepo, commit } = stored.source;
	const isSameCommit = revision === stored.revision || revision === commit;
	if (stored.tool === tool && storedRepo === repo && isSameCommit) return;
	const was = `${storedRepo} at ${stored.revision} (commit ${commit}), by version ${stored.tool}`;
	throw new HfStreamDcpError(
		"PLAN_CHANGED",
		`${stateDirectory} is of an unfinished conversion of ${was}; this is one of ${repo} at ${revision}, by version ${tool}`,
		{
			hint: "Finish it with the command that began it, choose another --out, or begin again with --overwrite.",
			facts: { repo: storedRepo, revision: stored.revision, commit, tool: stored.tool },
		},
	);
}
