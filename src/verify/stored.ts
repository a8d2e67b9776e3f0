import { formatBox } from "../core/box.ts";
import type { CheckpointObject, CheckpointTensor } from "../core/checkpoint.ts";
import type { Entry } from "../core/ports.ts";
import { quote } from "../dcp/corrupt.ts";
import type { Manifest } from "../manifest/manifest.ts";

/** What is known of the content of an entry beside what the entry itself says. */
export interface ContentFacts {
	readonly crc32?: number | undefined;
	readonly hash?: string | undefined;
	/** As in the manifest: where the stretches end that were hashed one by one. */
	readonly ends?: readonly number[] | undefined;
}

/** An entry that a checkpoint must hold. */
export interface StoredEntry extends Entry {
	readonly content: ContentFacts;
	/** Whether it is on the disk of other ranks: zeros are in its place, or no file. */
	readonly isElsewhere: boolean;
}

/** A tensor that a checkpoint must hold. */
export interface StoredTensor extends Omit<CheckpointTensor, "entries"> {
	readonly entries: readonly StoredEntry[];
}

/** A data file that a checkpoint must hold. */
export interface StoredFile {
	readonly name: string;
	/** What its size must be, where that is known. */
	readonly bytes: number | undefined;
}

/** What a checkpoint must hold. */
export interface StoredIndex {
	readonly tensors: readonly StoredTensor[];
	readonly objects: readonly CheckpointObject[];
	readonly files: readonly StoredFile[];
	/** Whether this program wrote it, so that every byte is known that is not data. */
	readonly isOurs: boolean;
}

/** What `.metadata` says a checkpoint holds; nothing is known of contents. */
export function storedByMetadata(
	tensors: readonly CheckpointTensor[],
	objects: readonly CheckpointObject[],
): StoredIndex {
	const names = new Set<string>();
	const stored = tensors.map((tensor) => ({
		...tensor,
		entries: tensor.entries.map((entry) => {
			names.add(entry.file);
			return { ...entry, content: {}, isElsewhere: false };
		}),
	}));
	for (const { file } of objects) names.add(file);
	const files = Array.from(names, (name) => ({ name, bytes: undefined }));
	return { tensors: stored, objects, files, isOurs: false };
}

/** What the manifest says a checkpoint holds. */
export function storedByManifest({ tensors, files }: Manifest): StoredIndex {
	return {
		tensors: tensors.map(({ fqn, dtype, shape, entries }) => ({
			fqn,
			dtype,
			shape,
			entries: entries.map(({ box, file, offset, length, crc32, hash, ends }) => ({
				fqn,
				dtype,
				box,
				file: files[file]?.name ?? "",
				offset,
				length,
				content: { crc32, hash, ends },
				isElsewhere: crc32 === undefined,
			})),
		})),
		objects: [],
		files,
		isOurs: true,
	};
}

/** `"name" [0:4, 8:16]`, for messages. */
export function describeEntry({ fqn, box }: Pick<Entry, "fqn" | "box">): string {
	return `${quote(fqn)} ${formatBox(box)}`;
}
