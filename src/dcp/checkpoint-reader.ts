import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type CheckpointIndex, STATE_NAME } from "../core/checkpoint.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { corrupt, quote } from "./corrupt.ts";
import {
	decodeMetadata,
	type DecodedMetadata,
	findHoles,
	mergeMetadata,
	type PlannerPath,
} from "./metadata-reader.ts";
import { reading } from "./read-error.ts";

/** Enough for about three million chunks. */
const MAX_METADATA_BYTES = 512 * 1024 * 1024;
const RANK_METADATA = /^__(\d+)\.metadata$/;

/** A file that the metadata names. */
export interface CheckpointFile {
	/** Path relative to the directory. */
	readonly name: string;
	/** Its size; 0 when it is missing. */
	readonly bytes: number;
	readonly isMissing: boolean;
}

/** A checkpoint directory: what its metadata says, and what of it is there. */
export interface ReadCheckpoint extends CheckpointIndex {
	readonly directory: string;
	/** `.metadata`, or one `__{rank}.metadata` per rank. */
	readonly metadataFiles: readonly string[];
	/** Their size in all. */
	readonly metadataBytes: number;
	readonly plannerPaths: readonly PlannerPath[];
	/** In order of first mention. */
	readonly files: readonly CheckpointFile[];
	/** What is wrong with it, one sentence each: missing or short files, tensors with holes. torch does not look for these. */
	readonly problems: readonly string[];
}

/**
 * Reads the metadata of any DCP directory, ours or torch's. Nothing is executed and no data file is opened.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when there is no checkpoint or it cannot be read; `CHECKPOINT_CORRUPT` when
 * its metadata is damaged, names code, or leads out of the directory; `DTYPE_UNSUPPORTED` for a dtype we cannot hold.
 */
export async function readCheckpoint(directory: string): Promise<ReadCheckpoint> {
	const { metadataFiles, metadataBytes, ...merged } = await readCheckpointIndex(directory);
	const { tensors, objects, plannerPaths } = merged;
	const { files, problems } = await findFiles(directory, merged);
	problems.push(...findHoles(tensors));
	return {
		directory,
		metadataFiles,
		metadataBytes,
		tensors,
		objects,
		plannerPaths,
		files,
		problems,
	};
}

/** What the metadata of a checkpoint directory says; whether its data files are there was not looked at. */
export type ReadIndex = Omit<ReadCheckpoint, "directory" | "files" | "problems">;

/**
 * Reads the metadata of any DCP directory as {@link readCheckpoint} does, and nothing else: the data files need not be there.
 *
 * @throws {HfStreamDcpError} as `readCheckpoint`.
 */
export async function readCheckpointIndex(directory: string): Promise<ReadIndex> {
	const metadataFiles = await findMetadata(directory);
	const parts: DecodedMetadata[] = [];
	let metadataBytes = 0;
	for (const name of metadataFiles) {
		const bytes = await readMetadataFile(join(directory, name));
		metadataBytes += bytes.length;
		parts.push(decodeMetadata(bytes, name));
	}
	const [first] = parts;
	const merged = first !== undefined && parts.length === 1 ? first : mergeMetadata(parts);
	return { ...merged, metadataFiles, metadataBytes };
}

async function findMetadata(directory: string): Promise<string[]> {
	const names = await reading(directory, () => readdir(directory));
	if (names.includes(".metadata")) return [".metadata"];
	const ranks = names
		.filter((name) => RANK_METADATA.test(name))
		.toSorted((a, b) => rankOf(a) - rankOf(b));
	if (ranks.length > 0) return ranks;
	const isUnfinished = names.includes(STATE_NAME);
	const step = names.find((name) => /^step-\d+$/.test(name));
	throw new HfStreamDcpError(
		"SOURCE_UNREADABLE",
		isUnfinished
			? `${directory} holds an unfinished checkpoint`
			: `${directory} is no checkpoint: it has no .metadata`,
		{
			hint: isUnfinished
				? "Run the command that began it again to finish it."
				: `Give the directory that holds .metadata and the .distcp files${step === undefined ? "" : `, such as ${join(directory, step)}`}.`,
			facts: { directory },
		},
	);
}

function rankOf(name: string): number {
	return Number(RANK_METADATA.exec(name)?.[1]);
}

async function readMetadataFile(path: string): Promise<Uint8Array> {
	return reading(path, async () => {
		const handle = await open(path, "r");
		try {
			const facts = await handle.stat();
			if (!facts.isFile()) throw corrupt(`${path} is no file`);
			if (facts.size > MAX_METADATA_BYTES) throw corrupt(`${path} has ${facts.size} bytes`);
			return await handle.readFile();
		} finally {
			await handle.close();
		}
	});
}

async function findFiles(
	directory: string,
	index: CheckpointIndex,
): Promise<{ files: CheckpointFile[]; problems: string[] }> {
	/** Where the last entry of each file ends. */
	const ends = new Map<string, number>();
	const entries = index.tensors.flatMap((tensor) => tensor.entries);
	for (const { file, offset, length } of [...entries, ...index.objects]) {
		ends.set(file, Math.max(ends.get(file) ?? 0, offset + length));
	}
	const files: CheckpointFile[] = [];
	const problems: string[] = [];
	for (const [name, end] of ends) {
		const bytes = await sizeOf(join(directory, name));
		files.push({ name, bytes: bytes ?? 0, isMissing: bytes === undefined });
		if (bytes === undefined) problems.push(`${quote(name)} is missing`);
		else if (bytes < end) problems.push(`${quote(name)} has ${bytes} of at least ${end} bytes`);
	}
	return { files, problems };
}

async function sizeOf(path: string): Promise<number | undefined> {
	return reading(path, async () => {
		try {
			return (await stat(path)).size;
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException;
			if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return undefined;
			throw error;
		}
	});
}
