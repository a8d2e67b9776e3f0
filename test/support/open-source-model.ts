import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { safetensorsFile } from "./safetensors-cases.ts";

/** Files of a small repository by path. */
export type ModelFiles = ReadonlyMap<string, Uint8Array>;

/** A safetensors file of one-byte tensors; each tensor's bytes are its number in `names`, repeated. */
export function weightsFile(names: readonly string[], bytesEach = 10): Uint8Array {
	const members = names.map((name, i) => {
		const stored = {
			dtype: "U8",
			shape: [bytesEach],
			data_offsets: [i * bytesEach, (i + 1) * bytesEach],
		};
		return [name, stored] as const;
	});
	const data = Buffer.concat(names.map((_, i) => Buffer.alloc(bytesEach, i + 1)));
	return safetensorsFile(
		JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(members) }),
		data,
	);
}

/** `value` as the bytes of a JSON file. */
export function jsonFile(value: unknown): Uint8Array {
	return Buffer.from(JSON.stringify(value));
}

/** Name of shard `number` of `total`. */
export function shard(number: number, total: number): string {
	const [first, last] = [number, total].map((value) => `${value}`.padStart(5, "0"));
	return `model-${first}-of-${last}.safetensors`;
}

/** A model in three shards with an index, a config and files that are no weights. Tensors `a` to `f`, two in each shard. */
export function shardedModel(): Map<string, Uint8Array> {
	const names = ["a", "b", "c", "d", "e", "f"];
	const weightMap = Object.fromEntries(
		names.map((name, i) => [name, shard(Math.floor(i / 2) + 1, 3)]),
	);
	return new Map([
		["README.md", Buffer.from("# model\n")],
		["config.json", jsonFile({ model_type: "llama" })],
		[
			"model.safetensors.index.json",
			jsonFile({ metadata: { total_size: 60 }, weight_map: weightMap }),
		],
		[shard(1, 3), weightsFile(["a", "b"])],
		[shard(2, 3), weightsFile(["c", "d"])],
		[shard(3, 3), weightsFile(["e", "f"])],
		["original/consolidated.00.pth", Buffer.from("not for us")],
	]);
}

/** Writes `files` below `directory`. */
export async function writeFiles(directory: string, files: ModelFiles): Promise<void> {
	for (const [path, bytes] of files) {
		await mkdir(dirname(join(directory, path)), { recursive: true });
		await writeFile(join(directory, path), bytes);
	}
}

/** Where a file of a cache really lies. */
export type CacheStyle = "links" | "shared-links" | "copies";

/** What else a cache can say of a commit. */
export interface CacheOptions {
	readonly cacheDir: string;
	readonly repo: string;
	readonly commit: string;
	readonly files: ModelFiles;
	/**
	 * `links`: `snapshots` link into `blobs`; `shared-links`: the blobs link on into a store of the whole cache;
	 * `copies`: real files, as without symlinks. @default "links"
	 */
	readonly style?: CacheStyle;
	/** `refs/<name>` that point to the commit. */
	readonly refs?: readonly string[];
	/** Paths marked as not in the repository. */
	readonly absent?: readonly string[];
	/** Writes `trees/<commit>.json` with these files. */
	readonly listing?: ModelFiles;
}

/**
 * Lays files out as the Hub cache does.
 *
 * @see huggingface_hub 2.4.0 `file_download.py`, `_tree_cache.py`; compared with real downloads in the oracle test
 */
export async function writeCache(options: CacheOptions): Promise<string> {
	const { cacheDir, repo, commit, files, style = "links" } = options;
	const folder = join(cacheDir, `models--${repo.replaceAll("/", "--")}`);
	const snapshot = join(folder, "snapshots", commit);
	await mkdir(snapshot, { recursive: true });
	for (const [path, bytes] of files) {
		const target = join(snapshot, path);
		await mkdir(dirname(target), { recursive: true });
		if (style === "copies") {
			await writeFile(target, bytes);
			continue;
		}
		const blob = join(folder, "blobs", etagOf(path, bytes));
		await writeBlob(blob, bytes, style === "links" ? undefined : cacheDir);
		await symlink(relative(dirname(target), blob), target);
	}
	for (const ref of options.refs ?? []) {
		await writeFiles(join(folder, "refs"), new Map([[ref, Buffer.from(commit)]]));
	}
	for (const path of options.absent ?? []) {
		await writeFiles(join(folder, ".no_exist", commit), new Map([[path, Buffer.alloc(0)]]));
	}
	if (options.listing !== undefined) await writeListing(folder, commit, options.listing);
	return snapshot;
}

async function writeBlob(
	blob: string,
	bytes: Uint8Array,
	store: string | undefined,
): Promise<void> {
	await mkdir(dirname(blob), { recursive: true });
	if (store === undefined) return writeFile(blob, bytes);
	const hash = createHash("sha256").update("xet").update(bytes).digest("hex");
	const shared = join(store, "blobs", hash.slice(0, 2), hash);
	await mkdir(dirname(shared), { recursive: true });
	await writeFile(shared, bytes);
	return symlink(relative(dirname(blob), shared), blob);
}

/** SHA-256 of large files, the id of the git blob of others. */
function etagOf(path: string, bytes: Uint8Array): string {
	if (path.endsWith(".safetensors")) return sha256Of(bytes);
	return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** Lower-case hex. */
export function sha256Of(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}

function writeListing(folder: string, commit: string, files: ModelFiles): Promise<void> {
	const entries = [...files].map(([path, bytes]) => {
		const large = path.endsWith(".safetensors")
			? { lfs_sha256: sha256Of(bytes), lfs_size: bytes.length }
			: {};
		return [path, { size: bytes.length, blob_id: "0".repeat(40), ...large }];
	});
	const listing = { format_version: 1, files: Object.fromEntries(entries) };
	return writeFiles(join(folder, "trees"), new Map([[`${commit}.json`, jsonFile(listing)]]));
}
