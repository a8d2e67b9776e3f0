import { mkdir, rename, rm, statfs, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HfStreamDcpError } from "../core/errors.ts";
import { makeDirectories } from "../files/make-directories.ts";
import { listIfThere, statIfThere, unlessMissing } from "../files/read-file.ts";
import { syncDirectory } from "../files/sync-directory.ts";
import { writing } from "../files/writing.ts";

/** Folder in the directory of the model where its files are until all of them are whole. */
const UNFINISHED = ".hf-stream-dcp-export";

/** What a loader takes for a model. */
const MODEL_FILE = /^(?:config\.json|.*\.safetensors|.*\.(?:safetensors|bin)\.index\.json)$/;

/** A directory that a model is written to. Dispose of it: what was not published is removed. */
export interface OutputFolder extends AsyncDisposable {
	/** Where the files are written first. */
	readonly path: string;
	/**
	 * Puts the files in place, which were synced: one after the other, the last one last, without which no loader takes the directory for a
	 * model.
	 *
	 * @param paths - Inside the directory of the model.
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	publish(paths: readonly string[]): Promise<void>;
}

/** What {@link openOutputFolder} makes ready. */
export interface OutputFolderOptions {
	/** Absolute. Made when it is missing. */
	readonly directory: string;
	/** Folders inside it, with a slash at the end, where files will be. */
	readonly folders: readonly string[];
	/** Whether a model that is there is replaced. */
	readonly overwrite: boolean;
	/** Bytes that will be written. */
	readonly bytes: number;
}

/**
 * Makes a directory ready for a model.
 *
 * @throws {HfStreamDcpError} `OUTPUT_EXISTS` when there is a model already, or another export is under way; `OUTPUT_WRITE` when there is no
 * room. Nothing was changed then.
 */
export async function openOutputFolder(options: OutputFolderOptions): Promise<OutputFolder> {
	const { directory, folders, overwrite } = options;
	const places = [...new Set(["", ...folders])];
	const found = await findModel(directory, places);
	if (found.length > 0 && !overwrite) throw exists(directory, found);
	await makeDirectories(directory);
	await checkRoom(directory, overwrite ? found : [], options.bytes);
	const path = join(directory, UNFINISHED);
	if (overwrite) await writing("remove", path, () => rm(path, { recursive: true, force: true }));
	await createFolder(path);
	for (const place of places) await makeDirectories(join(path, place));
	return {
		path,
		publish: async (paths) => {
			await removeModel(directory, found);
			for (const place of places) await makeDirectories(join(directory, place));
			for (const [index, file] of paths.entries()) {
				// All others are durable before the last one is there.
				if (index === paths.length - 1) await syncPlaces(directory, places);
				const target = join(directory, file);
				await writing("rename", target, () => rename(join(path, file), target));
			}
			await syncPlaces(directory, places);
		},
		[Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
	};
}

async function findModel(directory: string, places: readonly string[]): Promise<string[]> {
	const names = await Promise.all(
		places.map(async (place) =>
			(await listIfThere(join(directory, place)))
				.filter((name) => MODEL_FILE.test(name))
				.map((name) => place + name),
		),
	);
	return names.flat();
}

function isIndex(name: string): boolean {
	return name.endsWith(".index.json");
}

/** Removes a model: first what makes it one. */
async function removeModel(directory: string, found: readonly string[]): Promise<void> {
	const inOrder = [...found.filter(isIndex), ...found.filter((name) => !isIndex(name))];
	for (const name of inOrder) {
		const path = join(directory, name);
		await writing("remove", path, () => unlessMissing(() => unlink(path)));
	}
	for (const place of new Set(found.map((name) => dirname(name)))) {
		await writing("sync", directory, () => syncDirectory(join(directory, place)));
	}
}

async function syncPlaces(directory: string, places: readonly string[]): Promise<void> {
	for (const place of places) {
		const path = join(directory, place);
		await writing("sync", path, () => syncDirectory(path));
	}
}

async function createFolder(path: string): Promise<void> {
	await writing("create", path, async () => {
		try {
			await mkdir(path);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
			throw new HfStreamDcpError(
				"OUTPUT_EXISTS",
				`${path} is there: another export into this directory is under way, or was killed`,
				{
					hint: "If none is running, pass --overwrite: what is unfinished there is removed.",
					facts: { path },
				},
			);
		}
	});
}

async function checkRoom(
	directory: string,
	freed: readonly string[],
	bytes: number,
): Promise<void> {
	const { bavail, bsize, blocks } = await writing("inspect", directory, () => statfs(directory));
	// Some network and FUSE file systems do not know.
	if (blocks === 0) return;
	// The old model is removed only when the new one is whole: it frees nothing in time.
	const usable = bavail * bsize;
	if (bytes <= usable) return;
	const old = await Promise.all(freed.map((name) => statIfThere(join(directory, name))));
	const oldBytes = old.reduce((sum, facts) => sum + (facts?.blocks ?? 0) * 512, 0);
	const hint =
		oldBytes > 0
			? `Free ${bytes - usable} bytes more there: the model that is replaced stays until the new one is whole.`
			: `Free ${bytes - usable} bytes more there, or choose a directory on another disk.`;
	throw new HfStreamDcpError(
		"OUTPUT_WRITE",
		`the model takes ${bytes} bytes, and ${directory} has room for ${usable}`,
		{ hint, facts: { directory, neededBytes: bytes, usableBytes: usable } },
	);
}

function exists(directory: string, found: readonly string[]): HfStreamDcpError {
	const shown = found.slice(0, 3).join(", ");
	return new HfStreamDcpError(
		"OUTPUT_EXISTS",
		`${directory} holds a model already: ${shown}${found.length > 3 ? ", …" : ""}`,
		{
			hint: "Choose another directory, or pass --overwrite to replace it.",
			facts: { directory, found },
		},
	);
}
