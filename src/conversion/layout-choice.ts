import { createHash, type Hash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import pLimit from "p-limit";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { readCheckpointIndex } from "../dcp/checkpoint-reader.ts";
import { reading } from "../dcp/read-error.ts";
import { type LayoutFile, parseLayoutFile } from "../layout/layout-file.ts";
import { ranksOfFiles } from "../layout/like-layout.ts";
import { type Parallelism, resolveParallelism } from "../layout/parallelism.ts";
import type { ConversionOptions } from "../options.ts";

/** Where the layout of a conversion comes from, read as far as it can be without the model. */
export type LayoutChoice =
	/** From a mesh and the trainer's rules. */
	| { readonly kind: "mesh"; readonly worldSize: number; readonly parallelism: Parallelism }
	/** From an existing checkpoint. */
	| (FoundLayout & {
			readonly kind: "like";
			readonly tensors: readonly CheckpointTensor[];
			/** Keys of the checkpoint that are no tensors. */
			readonly objects: readonly string[];
	  })
	/** From one layout file, or from what several ranks wrote. */
	| (FoundLayout & { readonly kind: "layout"; readonly files: readonly LayoutFile[] });

interface FoundLayout {
	/** Absolute. */
	readonly path: string;
	readonly worldSize: number;
	/** SHA-256 of what it says of the layout, hexadecimal: the same wherever it lies. */
	readonly digest: string;
}

/** Layout files of ranks that are read at once. */
const CONCURRENCY = 16;

/**
 * Reads what `like` or `layout` names; otherwise completes the mesh.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE`, `CHECKPOINT_CORRUPT`, `DTYPE_UNSUPPORTED` or `LAYOUT_INVALID` when it cannot be read or
 * understood; the errors of {@link resolveParallelism}.
 */
export async function readLayoutChoice({
	like,
	layout,
	parallelism,
}: Pick<ConversionOptions, "like" | "layout" | "parallelism">): Promise<LayoutChoice> {
	if (like !== undefined) return readLike(resolve(like));
	if (layout !== undefined) return readLayout(resolve(layout));
	const mesh = resolveParallelism(parallelism);
	return { kind: "mesh", worldSize: mesh.worldSize, parallelism: mesh };
}

async function readLike(path: string): Promise<LayoutChoice> {
	const { tensors, objects } = await readCheckpointIndex(path);
	const files = new Set(objects.map(({ file }) => file));
	for (const { entries } of tensors) for (const { file } of entries) files.add(file);
	const worldSize = ranksOfFiles(files, path);
	const digest = digestOf((hash) => {
		hash.update(`${worldSize}\n`);
		for (const { fqn, dtype, shape, entries } of tensors) {
			hash.update(`${JSON.stringify([fqn, dtype, shape])}\n`);
			for (const { box, file } of entries) hash.update(JSON.stringify([box, file]));
		}
	});
	return {
		kind: "like",
		path,
		worldSize,
		digest,
		tensors,
		objects: objects.map(({ fqn }) => fqn),
	};
}

async function readLayout(path: string): Promise<LayoutChoice> {
	const isFolder = (await reading(path, () => stat(path))).isDirectory();
	const names = isFolder ? await layoutNames(path) : [path];
	const limit = pLimit(CONCURRENCY);
	const files = await Promise.all(
		names.map((name) =>
			limit(async () => parseLayoutFile(await reading(name, () => readFile(name, "utf8")), name)),
		),
	);
	const digest = digestOf((hash) => hash.update(JSON.stringify(files)));
	return { kind: "layout", path, worldSize: files[0]?.worldSize ?? 1, digest, files };
}

/** The layout files of a folder, those of ranks in the order of the ranks. */
async function layoutNames(folder: string): Promise<readonly string[]> {
	const names = await reading(folder, () => readdir(folder));
	const layouts = names.filter((name) => name.endsWith(".json"));
	if (layouts.length === 0) {
		throw new HfStreamDcpError("SOURCE_UNREADABLE", `${folder} holds no layout: no *.json`, {
			hint: "Give a layout.json, or the folder that every rank wrote its own to (docs/layouts.md).",
			facts: { path: folder },
		});
	}
	const collator = new Intl.Collator("en", { numeric: true });
	return layouts.toSorted(collator.compare).map((name) => join(folder, name));
}

function digestOf(feed: (hash: Hash) => void): string {
	const hash = createHash("sha256");
	feed(hash);
	return hash.digest("hex");
}
