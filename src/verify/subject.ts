import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { isHfStreamDcpError } from "../core/errors.ts";
import { type ReadIndex, readCheckpointIndex } from "../dcp/checkpoint-reader.ts";
import { quote } from "../dcp/corrupt.ts";
import { reading } from "../dcp/read-error.ts";
import { checkRelativePath } from "../dcp/relative-path.ts";
import { mapConcurrently } from "../fetch/map-concurrently.ts";
import { type Manifest, MANIFEST_NAME } from "../manifest/manifest.ts";
import { readManifest } from "../manifest/read.ts";
import { compareWithManifest } from "./agreement.ts";
import type { Problem, Problems } from "./problem.ts";
import { storedByManifest, storedByMetadata, type StoredIndex } from "./stored.ts";

/** A checkpoint that is to be verified: what it must hold, and what is there. */
export interface Subject {
	readonly directory: string;
	/** By the manifest where there is one, else by `.metadata`. */
	readonly stored: StoredIndex;
	readonly manifest: Manifest | undefined;
	/** What `.metadata` says, where it can be read. */
	readonly index: ReadIndex | undefined;
	/** Sizes of the data files that are there, by name. */
	readonly sizes: ReadonlyMap<string, number>;
	/** Data files and metadata of ranks that nothing names. */
	readonly strays: readonly string[];
}

const METADATA_NAME = ".metadata";
const SUMMARY_NAME = "summary.json";
const SUMMARY_START = /^\s*\{\s*"format":\s*"hf-stream-dcp summary/;
/** Files that are looked at at once. */
const LOOKS_AT_ONCE = 16;

/**
 * Reads metadata and manifest, and finds the data files.
 *
 * @param problems - Gets what is wrong with them.
 * @returns `undefined` when neither says what the checkpoint holds.
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when there is no checkpoint or it cannot be read; `DTYPE_UNSUPPORTED`.
 */
export async function readSubject(
	directory: string,
	problems: Problems,
): Promise<Subject | undefined> {
	const names = await reading(directory, () => readdir(directory));
	const manifest = await tryManifest(directory, names, problems);
	const index = await tryIndex(directory, names, manifest !== undefined, problems);
	const byManifest = manifest === undefined ? undefined : checkedFiles(manifest, problems);
	if (manifest !== undefined && index !== undefined && byManifest !== undefined) {
		await compareMetadata(directory, index, manifest, problems);
		addAll(problems, compareWithManifest(index, byManifest));
	}
	const stored =
		byManifest ??
		(index === undefined ? undefined : storedByMetadata(index.tensors, index.objects));
	if (stored === undefined) return undefined;
	const sizes = await findSizes(directory, stored, problems);
	const named = new Set(stored.files.map(({ name }) => name));
	const metadataFiles = new Set(index?.metadataFiles);
	const strays = names.filter(
		(name) =>
			(name.endsWith(".distcp") && !named.has(name)) ||
			(/^__\d+\.metadata$/.test(name) && !metadataFiles.has(name)),
	);
	return { directory, stored, manifest, index, sizes, strays: strays.toSorted() };
}

/** Adds several problems. */
export function addAll(problems: Problems, found: Iterable<Problem>): void {
	for (const problem of found) problems.add(problem);
}

async function tryManifest(
	directory: string,
	names: readonly string[],
	problems: Problems,
): Promise<Manifest | undefined> {
	try {
		const manifest = await readManifest(directory);
		if (manifest === undefined && (await isOfThisProgram(directory, names))) {
			const message = `${MANIFEST_NAME} is missing, and ${SUMMARY_NAME} says that this program wrote the checkpoint`;
			problems.add({ kind: "missing", message, file: MANIFEST_NAME });
		}
		return manifest;
	} catch (error) {
		if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT")) throw error;
		problems.add({ kind: "manifest", message: error.message, file: MANIFEST_NAME });
		return undefined;
	}
}

async function isOfThisProgram(directory: string, names: readonly string[]): Promise<boolean> {
	if (!names.includes(SUMMARY_NAME)) return false;
	try {
		return SUMMARY_START.test(await readFile(join(directory, SUMMARY_NAME), "utf8"));
	} catch {
		// Not a file, or not readable: then it is no summary of ours that anyone could have meant.
		return false;
	}
}

async function tryIndex(
	directory: string,
	names: readonly string[],
	hasManifest: boolean,
	problems: Problems,
): Promise<ReadIndex | undefined> {
	if (hasManifest && !names.includes(METADATA_NAME)) {
		const message = `${quote(METADATA_NAME)} is missing: torch cannot load the checkpoint`;
		problems.add({ kind: "missing", message, file: METADATA_NAME });
		return undefined;
	}
	try {
		return await readCheckpointIndex(directory);
	} catch (error) {
		const isDamage =
			isHfStreamDcpError(error, "CHECKPOINT_CORRUPT") ||
			(hasManifest && isHfStreamDcpError(error, "DTYPE_UNSUPPORTED"));
		if (!isDamage) throw error;
		problems.add({ kind: "metadata", message: error.message, file: METADATA_NAME });
		return undefined;
	}
}

/** What the manifest says, unless it leads out of the directory. */
function checkedFiles(manifest: Manifest, problems: Problems): StoredIndex | undefined {
	try {
		for (const { name } of manifest.files) checkRelativePath(name);
		return storedByManifest(manifest);
	} catch (error) {
		if (!isHfStreamDcpError(error, "CHECKPOINT_CORRUPT")) throw error;
		problems.add({ kind: "manifest", message: error.message, file: MANIFEST_NAME });
		return undefined;
	}
}

/** Whether `.metadata` is the one that the manifest was written with. */
async function compareMetadata(
	directory: string,
	{ metadataFiles, metadataBytes }: ReadIndex,
	{ metadata }: Manifest,
	problems: Problems,
): Promise<void> {
	const hash = createHash("sha256");
	for (const name of metadataFiles) {
		await reading(join(directory, name), async () => {
			for await (const chunk of createReadStream(join(directory, name)))
				hash.update(chunk as Buffer);
		});
	}
	if (metadataBytes === metadata.bytes && hash.digest("hex") === metadata.sha256) return;
	const why =
		metadataBytes === metadata.bytes
			? "it does not have the SHA-256"
			: `it has ${metadataBytes} bytes instead of ${metadata.bytes}`;
	problems.add({
		kind: "metadata",
		message: `${quote(METADATA_NAME)} is not the one that the manifest belongs to: ${why}`,
		file: METADATA_NAME,
	});
}

async function findSizes(
	directory: string,
	{ files }: StoredIndex,
	problems: Problems,
): Promise<Map<string, number>> {
	const sizes = new Map<string, number>();
	await mapConcurrently(files, LOOKS_AT_ONCE, async ({ name }) => {
		try {
			const facts = await stat(join(directory, name));
			if (facts.isFile()) sizes.set(name, facts.size);
			else problems.add({ kind: "unreadable", message: `${quote(name)} is no file`, file: name });
		} catch (error) {
			const { code, message } = error as NodeJS.ErrnoException;
			if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return;
			problems.add({
				kind: "unreadable",
				message: `cannot read ${quote(name)}: ${message}`,
				file: name,
			});
		}
	});
	return sizes;
}
