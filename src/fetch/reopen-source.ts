import type { EventListener } from "../core/events.ts";
import type { ByteSource } from "../core/ports.ts";
import type { RateBoard } from "../core/rate-board.ts";
import type { Source, SourceFile } from "../core/source.ts";
import { openCacheSnapshot, snapshotDirectory } from "./cache-snapshot.ts";
import { createDirectorySource } from "./directory-source.ts";
import type { HubEnvironment } from "./environment.ts";
import { createHubSession } from "./hub-session.ts";
import { lacking, missingFrom, notCached } from "./open-cache.ts";
import type { OpenedSource } from "./open-source.ts";

/** Where the bytes of an opened source are. Plain data, so that other threads and processes can read them as well. */
export interface SourceDescription {
	readonly kind: OpenedSource["kind"];
	/** `org/name`, or the absolute path of a directory. */
	readonly repo: string;
	/** Pinned; `"local"` for a directory that is no snapshot. */
	readonly commit: string;
	/** The files to read, with the sizes they must have. */
	readonly files: readonly SourceFile[];
}

/**
 * Where this machine has the bytes of a commit that was opened elsewhere: in the Hub's cache when that has all files, otherwise at the
 * Hub. Nothing is asked of the Hub.
 *
 * @throws {HfStreamDcpError} `OFFLINE` when the Hub may not be asked and the cache lacks files.
 */
export async function describeHere(
	{ repo, commit, files }: Pick<Source, "repo" | "commit" | "files">,
	{ cacheDir, offline }: HubEnvironment,
): Promise<SourceDescription> {
	const snapshot = await openCacheSnapshot(cacheDir, repo, commit);
	if (snapshot === undefined) {
		if (offline) throw notCached(repo, commit, cacheDir);
		return { kind: "hub", repo, commit, files };
	}
	const missing = await missingFrom(snapshot, files);
	if (missing.length === 0) return { kind: "cache", repo, commit, files };
	if (offline) throw lacking(snapshot, missing);
	return { kind: "hub", repo, commit, files };
}

/** How to read it. */
export interface ReopenOptions {
	readonly environment: HubEnvironment;
	/** Connections to one origin at a time. */
	readonly connections: number;
	readonly signal?: AbortSignal | undefined;
	readonly onEvent?: EventListener | undefined;
	/** Where the workers of a job share the Hub's rate limits. */
	readonly board?: RateBoard | undefined;
}

/** Describes an opened source. */
export function describeSource(opened: {
	readonly kind: OpenedSource["kind"];
	readonly source: Pick<Source, "repo" | "commit" | "files">;
}): SourceDescription {
	const { repo, commit, files } = opened.source;
	return { kind: opened.kind, repo, commit, files };
}

/**
 * Reads the files of a source that is open elsewhere, over connections of its own. Nothing that is known already is asked for
 * again: no revision, listing, index or header. Nothing is read before the first range.
 */
export function reopenSource(description: SourceDescription, options: ReopenOptions): ByteSource {
	const { kind, repo, commit } = description;
	const { environment, connections, signal, onEvent, board } = options;
	const files = new Map(description.files.map((file) => [file.path, file]));
	switch (kind) {
		case "directory":
			return createDirectorySource(repo, files, onEvent);
		case "cache":
			return createDirectorySource(
				snapshotDirectory(environment.cacheDir, repo, commit),
				files,
				onEvent,
			);
		case "hub": {
			const session = createHubSession(environment, { connections, signal, onEvent, board });
			const bytes = session.byteSource(repo, commit, files);
			return {
				readInto: (range, into, read) => bytes.readInto(range, into, read),
				async [Symbol.asyncDispose]() {
					await bytes[Symbol.asyncDispose]();
					await session[Symbol.asyncDispose]();
				},
			};
		}
	}
}
