import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import type { EventListener } from "../core/events.ts";
import { type CacheSnapshot, findCachedCommit, openCacheSnapshot } from "./cache-snapshot.ts";
import { createDirectorySource } from "./directory-source.ts";
import type { HubEnvironment } from "./environment.ts";
import { findWeights, isSingleFile, type Weights } from "./find-weights.ts";
import type { SourceParts } from "./read-source.ts";
import { formatNames, type RepoFile, type RepoFiles } from "./repo-files.ts";

/**
 * Opens a repository from the cache alone, without any HTTP. What the repository consists of is taken from the cached
 * listing of the commit where there is one, else from the index; a file that is needed and not there is an error, never a
 * file that the model is taken to lack.
 *
 * @throws {HfStreamDcpError} `OFFLINE` with the names of what is missing.
 */
export async function openOffline(
	repo: string,
	revision: string,
	environment: HubEnvironment,
	onEvent: EventListener | undefined,
): Promise<SourceParts> {
	const { cacheDir } = environment;
	const commit = await findCachedCommit(cacheDir, repo, revision);
	if (commit === undefined) {
		throw offline(`revision ${revision} of ${repo} is not in the cache ${cacheDir}`, {
			repo,
			revision,
		});
	}
	const snapshot = await openCacheSnapshot(cacheDir, repo, commit);
	if (snapshot === undefined) {
		throw notCached(repo, commit, cacheDir);
	}
	const files = offlineFiles(snapshot);
	const weights = await findOfflineWeights(snapshot, files);
	const absent = await missingFrom(snapshot, weights.files);
	if (absent.length > 0) throw lacking(snapshot, absent);
	return { repo, commit, files, weights, bytes: snapshotBytes(snapshot, weights, onEvent) };
}

/** The files of `needed` that the snapshot lacks or has with another size. */
export async function missingFrom(
	snapshot: CacheSnapshot,
	needed: readonly RepoFile[],
): Promise<string[]> {
	const missing: string[] = [];
	for (const file of needed) {
		const cached = await snapshot.files.find(file.path);
		if (cached?.bytes !== file.bytes) missing.push(file.path);
	}
	return missing;
}

/** The weights as a byte source over the snapshot. */
export function snapshotBytes(
	snapshot: CacheSnapshot,
	weights: Weights,
	onEvent: EventListener | undefined,
): SourceParts["bytes"] {
	const files = new Map(weights.files.map((file) => [file.path, file]));
	return createDirectorySource(snapshot.directory, files, onEvent);
}

function offlineFiles(snapshot: CacheSnapshot): RepoFiles {
	const { files, listing } = snapshot;
	return {
		name: files.name,
		list: listing === undefined ? files.list : [...listing.values()],
		find: async (path) => {
			if (listing !== undefined) return listing.get(path);
			const file = await files.find(path);
			// A model is not complete without its config, so that it must be there or be known not to exist.
			if (
				file === undefined &&
				/(?:^|\/)config\.json$/.test(path) &&
				!(await snapshot.isKnownAbsent(path))
			) {
				throw lacking(snapshot, [path]);
			}
			return file;
		},
		read: async (path, limitBytes) => {
			if ((await files.find(path)) === undefined) throw lacking(snapshot, [path]);
			return files.read(path, limitBytes);
		},
	};
}

async function findOfflineWeights(snapshot: CacheSnapshot, files: RepoFiles): Promise<Weights> {
	let weights: Weights;
	try {
		weights = await findWeights(files);
	} catch (error) {
		if (snapshot.listing !== undefined || !isHfStreamDcpError(error)) throw error;
		const { missing } = error.facts;
		// The repository may well be complete: it is the cache that lacks something.
		if (error.code === "INDEX_INVALID" && Array.isArray(missing)) {
			throw lacking(snapshot, missing.map(String), error);
		}
		if (error.code === "SOURCE_UNREADABLE") throw lacking(snapshot, ["weights"], error);
		throw error;
	}
	const isComplete = weights.index !== undefined || isSingleFile(weights.files[0]?.path ?? "");
	if (
		snapshot.listing === undefined &&
		!isComplete &&
		!(await snapshot.isKnownAbsent(weights.indexFile))
	) {
		throw lacking(snapshot, [weights.indexFile]);
	}
	return weights;
}

/** The error for a commit of which the cache has nothing. */
export function notCached(repo: string, commit: string, cacheDir: string): HfStreamDcpError {
	return offline(`${repo} at ${commit} is not in the cache ${cacheDir}`, { repo, commit });
}

/** The error for a snapshot that is not whole. */
export function lacking(
	snapshot: CacheSnapshot,
	missing: readonly string[],
	cause?: unknown,
): HfStreamDcpError {
	return offline(
		`${snapshot.files.name} is not complete: it lacks ${formatNames(missing)}`,
		{ directory: snapshot.directory, missing },
		cause,
	);
}

function offline(message: string, facts: object, cause?: unknown): HfStreamDcpError {
	return new HfStreamDcpError("OFFLINE", message, {
		hint: "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or download the model into the cache first with `hf download`.",
		facts: { ...facts },
		cause,
	});
}
