import { HfStreamDcpError } from "../core/errors.ts";
import type { EventListener } from "../core/events.ts";
import type { ByteSource } from "../core/ports.ts";
import type { RateBoard } from "../core/rate-board.ts";
import type { Source } from "../core/source.ts";
import { openCacheSnapshot, type CacheSnapshot } from "./cache-snapshot.ts";
import type { HubEnvironment } from "./environment.ts";
import { findWeights } from "./find-weights.ts";
import { createHubSession, type HubSession } from "./hub-session.ts";
import { missingFrom, openOffline, snapshotBytes } from "./open-cache.ts";
import { findDirectory, isPath, openDirectory } from "./open-directory.ts";
import { readSource, type SourceParts } from "./read-source.ts";
import type { RepoFile, RepoFiles } from "./repo-files.ts";
import { assertRepoId } from "./repo-id.ts";

/** What to open and how. */
export interface OpenSourceOptions {
	/**
	 * `org/name` on the Hub, or the path of a directory. What begins with `.`, `/` or `~` is a path; anything else is one
	 * when a directory of that name exists, even if the Hub has a repository of the name (transformers decides alike; a
	 * warning tells).
	 */
	readonly repo: string;
	/** Branch, tag or commit. Not for directories. @default "main" */
	readonly revision?: string | undefined;
	readonly environment: HubEnvironment;
	/** Connections to one origin at a time, and headers read at a time. */
	readonly connections: number;
	/** Stops the opening and every read of the source. */
	readonly signal?: AbortSignal | undefined;
	readonly onEvent?: EventListener | undefined;
	/** Where the workers of a job share the Hub's rate limits. */
	readonly board?: RateBoard | undefined;
}

/** A model whose headers are read. Dispose of it to close its connections or files. */
export interface OpenedSource extends AsyncDisposable {
	/** Where the weights come from: the Hub, a snapshot in its cache, any other directory. */
	readonly kind: "hub" | "cache" | "directory";
	readonly source: Source;
	/** Reads the files of `source`. */
	readonly bytes: ByteSource;
	/** Bytes of all headers, length fields included: what was read of the files so far. */
	readonly headerBytes: number;
	/** What the user should know, one sentence each. */
	readonly warnings: readonly string[];
	/** The files beside the weights, and the folder of the weights among them; none where a job's record stands for the source. */
	readonly beside?: SourceBeside | undefined;
}

/** The other files of a model. */
export interface SourceBeside {
	readonly files: RepoFiles;
	/** Where weights and `config.json` are, with a slash at the end; empty for the top. */
	readonly folder: string;
}

/**
 * Opens a model: pins the revision to a commit, finds the safetensors files and reads their headers. Weights are taken from
 * the Hub's cache when it has all of them at that commit, and only from there when the environment says offline.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for a name that no repository can have, `HEADER_INVALID`, `INDEX_INVALID`,
 * `DTYPE_UNSUPPORTED` and `SOURCE_UNREADABLE` for what is wrong with the files, `OFFLINE` for what the cache lacks, and
 * what {@link createHubSession} throws.
 */
export async function openSource(options: OpenSourceOptions): Promise<OpenedSource> {
	const { repo, revision, environment, signal, onEvent } = options;
	signal?.throwIfAborted();
	const directory = await findDirectory(repo);
	if (directory !== undefined) {
		if (revision !== undefined) throw revisionOfDirectory(directory, revision);
		const notes = isPath(repo)
			? []
			: [`${repo} is taken for the directory ${directory}, not for a repository on the Hub`];
		const parts = await openDirectory(directory, onEvent);
		return finish("directory", parts, options, notes);
	}
	assertRepoId(repo);
	if (environment.offline) {
		const parts = await openOffline(repo, revision ?? "main", environment, onEvent);
		return finish("cache", parts, options);
	}
	return openOnline(options);
}

async function openOnline(options: OpenSourceOptions): Promise<OpenedSource> {
	const { repo, revision, environment, connections, signal, onEvent, board } = options;
	const session = createHubSession(environment, { connections, signal, onEvent, board });
	try {
		const { commit } = await session.pin(repo, revision ?? "main");
		const snapshot = await openCacheSnapshot(environment.cacheDir, repo, commit);
		const files = hubFiles(session, repo, commit, await session.list(repo, commit), snapshot);
		const weights = await findWeights(files);
		const cached =
			snapshot !== undefined && (await missingFrom(snapshot, weights.files)).length === 0;
		const byPath = new Map(weights.files.map((file) => [file.path, file]));
		const bytes = cached
			? snapshotBytes(snapshot, weights, onEvent)
			: session.byteSource(repo, commit, byPath);
		const parts = { repo, commit, files, weights, bytes };
		return await finish(cached ? "cache" : "hub", parts, options, [], session);
	} catch (error) {
		await session[Symbol.asyncDispose]();
		throw error;
	}
}

/** The files of a commit as the Hub lists them; small ones that are cached are read from the cache. */
export function hubFiles(
	session: HubSession,
	repo: string,
	commit: string,
	list: readonly RepoFile[],
	snapshot: CacheSnapshot | undefined,
): RepoFiles {
	const byPath = new Map(list.map((file) => [file.path, file]));
	return {
		name: repo,
		list,
		find: (path) => Promise.resolve(byPath.get(path)),
		read: async (path, limitBytes) => {
			const cached = await snapshot?.files.find(path);
			return snapshot !== undefined && cached?.bytes === byPath.get(path)?.bytes
				? snapshot.files.read(path, limitBytes)
				: session.readFile(repo, commit, path, limitBytes);
		},
	};
}

async function finish(
	kind: OpenedSource["kind"],
	parts: SourceParts,
	options: OpenSourceOptions,
	notes: readonly string[] = [],
	session?: HubSession,
): Promise<OpenedSource> {
	const { bytes } = parts;
	try {
		const { source, headerBytes, warnings } = await readSource(parts, options);
		return {
			kind,
			source,
			bytes,
			headerBytes,
			warnings: [...notes, ...warnings],
			beside: { files: parts.files, folder: parts.weights.folder },
			async [Symbol.asyncDispose]() {
				await bytes[Symbol.asyncDispose]();
				await session?.[Symbol.asyncDispose]();
			},
		};
	} catch (error) {
		await bytes[Symbol.asyncDispose]();
		throw error;
	}
}

function revisionOfDirectory(directory: string, revision: string): HfStreamDcpError {
	return new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${directory} is a directory, which has no revision ${revision}`,
		{ hint: "Leave the revision out, or give the name of a Hub repository.", facts: { directory } },
	);
}
