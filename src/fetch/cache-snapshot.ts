import { readFile, readlink, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { listDirectory } from "./directory-files.ts";
import { isSafePath, type RepoFile, type RepoFiles } from "./repo-files.ts";

/** A commit of a repository as far as it lies in the Hub cache. */
export interface CacheSnapshot {
	/** 40 lower-case hex digits. */
	readonly commit: string;
	/** Absolute path of `snapshots/<commit>`. */
	readonly directory: string;
	readonly files: RepoFiles;
	/** What the cached listing of the commit says; `undefined` when there is none. */
	readonly listing: ReadonlyMap<string, RepoFile> | undefined;
	/** Whether the cache knows that the commit has no file at `path`. */
	isKnownAbsent(path: string): Promise<boolean>;
}

const COMMIT_PATTERN = /^[0-9a-f]{40}$/;

/** Whether `revision` names a commit in full. */
export function isCommit(revision: string): boolean {
	return COMMIT_PATTERN.test(revision);
}

/** The folder of a model repository in the cache: `models--org--name`. */
function repoFolder(cacheDir: string, repo: string): string {
	return join(cacheDir, `models--${repo.replaceAll("/", "--")}`);
}

/** Where the files of a commit are in the cache; absolute like `cacheDir`. */
export function snapshotDirectory(cacheDir: string, repo: string, commit: string): string {
	return join(repoFolder(cacheDir, repo), "snapshots", commit);
}

/**
 * The commit that the cache last saw `revision` at: itself, or what `refs/<revision>` says.
 *
 * @param cacheDir - `HubEnvironment.cacheDir`.
 */
export async function findCachedCommit(
	cacheDir: string,
	repo: string,
	revision: string,
): Promise<string | undefined> {
	if (isCommit(revision)) return revision;
	if (!isSafePath(revision)) return undefined;
	const path = join(repoFolder(cacheDir, repo), "refs", ...revision.split("/"));
	const text = await readFile(path, "utf8").catch(() => "");
	return isCommit(text.trim()) ? text.trim() : undefined;
}

/**
 * Opens the snapshot of a commit in the cache. Nothing is known yet of whether all its files are there.
 *
 * @returns `undefined` when the cache has no folder for it.
 * @see huggingface_hub 2.4.0 `file_download.py` `try_to_load_from_cache`, `_tree_cache.py`
 */
export async function openCacheSnapshot(
	cacheDir: string,
	repo: string,
	commit: string,
): Promise<CacheSnapshot | undefined> {
	const folder = repoFolder(cacheDir, repo);
	const directory = snapshotDirectory(cacheDir, repo, commit);
	const info = await stat(directory).catch(() => undefined);
	if (info?.isDirectory() !== true) return undefined;
	const local = await listDirectory(
		directory,
		`the cached snapshot of ${repo} (${commit.slice(0, 7)})`,
	);
	const withHash = (file: RepoFile): Promise<RepoFile> => addHash(directory, file);
	return {
		commit,
		directory,
		files: {
			...local,
			list: await Promise.all(local.list.map(withHash)),
			find: async (path) => {
				const file = await local.find(path);
				return file === undefined ? undefined : withHash(file);
			},
		},
		listing: await readCachedListing(join(folder, "trees", `${commit}.json`)),
		isKnownAbsent: (path) =>
			stat(join(folder, ".no_exist", commit, path)).then(
				() => true,
				() => false,
			),
	};
}

/**
 * A snapshot's file is a link to `blobs/<etag>`, whose name is the sha256 of files that are stored outside git. Only the
 * first hop is looked at: the blob may itself be a link into a store that all repositories share, under another hash.
 */
async function addHash(directory: string, file: RepoFile): Promise<RepoFile> {
	const target = await readlink(join(directory, file.path)).catch(() => "");
	const name = basename(target);
	return /^[0-9a-f]{64}$/.test(name) ? { ...file, sha256: name } : file;
}

/** Format of `trees/<commit>.json` that is understood; others are ignored, as in huggingface_hub 2.4 `_tree_cache.py`. */
const LISTING_VERSION = 1;

async function readCachedListing(path: string): Promise<ReadonlyMap<string, RepoFile> | undefined> {
	try {
		const listing = JSON.parse(await readFile(path, "utf8")) as {
			format_version?: unknown;
			files?: Record<string, { size?: unknown; lfs_sha256?: unknown } | null>;
		};
		if (listing.format_version !== LISTING_VERSION) return undefined;
		const files = new Map<string, RepoFile>();
		for (const [file, facts] of Object.entries(listing.files ?? {})) {
			const { size, lfs_sha256: sha256 } = facts ?? {};
			if (typeof size !== "number") return undefined;
			const hash = typeof sha256 === "string" ? { sha256 } : {};
			files.set(file, { path: file, bytes: size, ...hash });
		}
		return files;
	} catch {
		// Only a cache of what the Hub said: missing or damaged, it is not needed.
		return undefined;
	}
}
