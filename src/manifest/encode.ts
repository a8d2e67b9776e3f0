import { createHash } from "node:crypto";
import type { Source } from "../core/source.ts";
import type { Manifest, ManifestEntry, ManifestTensor } from "./manifest.ts";

/** A {@link Manifest} whose entries need not be there at once: they are asked for tensor by tensor, once. */
export type ManifestInput = Omit<Manifest, "tensors"> & {
	readonly tensors: readonly ManifestTensorInput[];
};

/** A {@link ManifestTensor} whose entries need not be there at once. */
export type ManifestTensorInput = Omit<ManifestTensor, "entries"> & {
	readonly entries: Iterable<ManifestEntry>;
};

/** What the columns of the rows are, as the file itself says it. */
export const MANIFEST_COLUMNS = {
	"source.tensors": ["name", "dtype", "shape", "file", "begin", "end"],
	entries: [
		"tensor",
		"box offset",
		"box size",
		"file",
		"offset",
		"length",
		"holders",
		"crc32",
		"hash",
		"ends",
	],
} as const;

/** Stands alone on its line, which no text in the file can: line breaks in texts are escaped. */
export const ENTRIES_BEGIN = '\n"entries":[\n';

/** What the rows of the entries end with. */
export const ROWS_END = "\n],\n";

/** The end of the file: a hash of all bytes before it. Always as long. */
export function manifestEnd(sha256: string): string {
	return `"sha256":"${sha256}"\n}\n`;
}

/** Characters that a piece has at least, but for the last one. */
const PIECE_CHARS = 256 * 1024;

/**
 * The text of a manifest, UTF-8: JSON, a line to each member, and to each file, tensor and entry.
 *
 * The last member, `sha256`, is the SHA-256 of all bytes before its line. So it is in every version.
 *
 * @yields Pieces of at least a quarter of a megabyte, but for the last one.
 */
export function* encodeManifest(manifest: ManifestInput): Generator<string> {
	const hash = createHash("sha256");
	let piece = "";
	for (const text of linesOf(manifest)) {
		piece += text;
		if (piece.length < PIECE_CHARS) continue;
		hash.update(piece);
		yield piece;
		piece = "";
	}
	hash.update(piece);
	yield piece + manifestEnd(hash.digest("hex"));
}

function* linesOf(manifest: ManifestInput): Generator<string> {
	const { format, tensors, source, files, holders, ...rest } = manifest;
	const { tied, dropped, synthesised, dequantised, summary, ...head } = rest;
	yield `{\n${member("format", format)}`;
	for (const [name, value] of Object.entries(head)) yield member(name, value);
	yield member("columns", MANIFEST_COLUMNS);
	yield* sourceLines(source);
	for (const [name, list] of Object.entries({ files, holders })) yield* listLines(name, list);
	yield* listLines(
		"tensors",
		tensors.map(({ fqn, dtype, shape, recipe }) => ({ fqn, dtype, shape, recipe })),
	);
	const notes = { tied, dropped, synthesised, dequantised };
	for (const [name, list] of Object.entries(notes)) yield* listLines(name, list);
	// The line break is part of what the entries begin with.
	yield member("summary", summary).slice(0, -1);
	yield ENTRIES_BEGIN;
	yield* rowsOf(tensors);
	yield ROWS_END;
}

/** Nothing for a member that is left out. */
function member(name: string, value: unknown): string {
	return value === undefined ? "" : `${JSON.stringify(name)}:${JSON.stringify(value)},\n`;
}

function* listLines(name: string, list: Iterable<unknown>): Generator<string> {
	yield `${JSON.stringify(name)}:[\n`;
	yield* itemLines(list);
	yield "\n],\n";
}

function* itemLines(list: Iterable<unknown>): Generator<string> {
	let before = "";
	for (const item of list) {
		yield before + JSON.stringify(item);
		before = ",\n";
	}
}

function* sourceLines({ repo, commit, files, tensors, config }: Source): Generator<string> {
	yield '"source":{\n';
	for (const [name, value] of Object.entries({ repo, commit, config })) yield member(name, value);
	yield* listLines("files", files);
	const index = new Map(files.map(({ path }, place) => [path, place]));
	yield '"tensors":[\n';
	yield* itemLines(
		tensors.map(({ name, dtype, shape, file, begin, end }) => [
			name,
			dtype,
			shape,
			index.get(file),
			begin,
			end,
		]),
	);
	yield "\n]\n},\n";
}

function* rowsOf(tensors: readonly ManifestTensorInput[]): Generator<string> {
	let before = "";
	for (const [tensor, { entries }] of tensors.entries()) {
		for (const entry of entries) {
			yield before + rowOf(tensor, entry);
			before = ",\n";
		}
	}
}

/** By hand: a million of them in a second. A row ends with the last of its columns that has a value. */
function rowOf(tensor: number, entry: ManifestEntry): string {
	const { box, file, offset, length, holders, crc32, hash, ends } = entry;
	let row = `[${tensor},[${box.offset.join()}],[${box.size.join()}],${file},${offset},${length},${holders}`;
	if (crc32 !== undefined) row += `,${crc32}`;
	if (hash !== undefined) row += `,"${hash}"`;
	if (ends !== undefined) row += `,[${ends.join()}]`;
	return `${row}]`;
}
