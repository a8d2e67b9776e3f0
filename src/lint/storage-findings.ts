import { formatBox } from "../core/box.ts";
import type { Entry } from "../core/ports.ts";
import { numel } from "../core/shape.ts";
import { itemBytes } from "../core/dtype.ts";
import { finding, plural } from "./findings.ts";
import type { Placement, PlacedTensor } from "./place.ts";
import type { LintFinding } from "./types.ts";

/** A data file that the metadata names. */
export interface DataFile {
	readonly name: string;
	/** 0 when it is missing. */
	readonly bytes: number;
	readonly isMissing: boolean;
}

/** What is wrong with how the tensors that a trainer wants are stored. */
export function storageFindings(
	{ items, uncut }: Placement,
	files: readonly DataFile[],
): readonly LintFinding[] {
	const tensors = items.filter((item): item is PlacedTensor => item.kind === "tensor");
	const entries = items.flatMap((item) =>
		item.kind === "object"
			? [item.stored]
			: item.stored.entries.filter(({ box }) => !box.size.includes(0)),
	);
	return [
		...unevenFindings(uncut),
		...coverageFindings(tensors),
		...fileFindings(entries, files),
		...entryFindings(tensors),
	];
}

function unevenFindings(uncut: Placement["uncut"]): readonly LintFinding[] {
	const [first] = uncut.values();
	return finding({
		kind: "uneven",
		severity: "error",
		message: `the mesh cuts ${plural(uncut.size, "tensor")} so that the trainer cannot build ${uncut.size === 1 ? "it" : "them"}, or torch cannot save and load ${uncut.size === 1 ? "it" : "them"}`,
		raises:
			"AssertionError: req MetadataIndex(…) mismatch sizes; or an error when the model is built or saved",
		hint: first?.hint ?? "",
		all: [...uncut.values()].map(({ message }) => message),
	});
}

function coverageFindings(tensors: readonly PlacedTensor[]): readonly LintFinding[] {
	const overlaps = tensors.flatMap(({ fqn, grid: { overlap } }) =>
		overlap === undefined ? [] : [`${fqn}: ${overlap.map(formatBox).join(" and ")}`],
	);
	const holes = tensors.flatMap(
		({ fqn, stored: { shape }, grid: { elements, overlap }, reads }) => {
			const lacking = reads.filter(({ wanted, found }) => found < wanted).length;
			if (lacking === 0 && (overlap !== undefined || elements === numel(shape))) return [];
			return [
				`${fqn}: its chunks hold ${elements} of ${numel(shape)} elements; ${plural(lacking, "shard")} of ${reads.length} would keep old values`,
			];
		},
	);
	return [
		...finding({
			kind: "hole",
			severity: "error",
			message: `the chunks of ${plural(holes.length, "tensor")} leave holes; ranks keep what they were initialised with there`,
			raises: undefined,
			hint: "The checkpoint is not whole: make it again. `hf-stream-dcp verify` says what is missing.",
			all: holes,
		}),
		...finding({
			kind: "overlap",
			severity: "error",
			message: `chunks of ${plural(overlaps.length, "tensor")} overlap; which of them a rank gets depends on the order of reading`,
			raises: undefined,
			hint: "The checkpoint is damaged: make it again.",
			all: overlaps,
		}),
	];
}

type Place = Pick<Entry, "fqn" | "file" | "offset" | "length">;

function fileFindings(
	entries: readonly Place[],
	files: readonly DataFile[],
): readonly LintFinding[] {
	const ends = new Map<string, number>();
	for (const { file, offset, length } of entries) {
		ends.set(file, Math.max(ends.get(file) ?? 0, offset + length));
	}
	const read = files.filter(({ name }) => ends.has(name));
	const missing = read.filter(({ isMissing }) => isMissing);
	const short = read.filter(
		({ name, bytes, isMissing }) => !isMissing && bytes < (ends.get(name) ?? 0),
	);
	return [
		...finding({
			kind: "file",
			severity: "error",
			message: `${plural(missing.length, "data file")} ${missing.length === 1 ? "is" : "are"} missing`,
			raises: `FileNotFoundError: [Errno 2] No such file or directory: '…/${missing[0]?.name ?? ""}'`,
			hint: "Copy the checkpoint again, with all of its files; --local-output leaves on each disk what the ranks of its node read.",
			all: missing.map(({ name }) => name),
		}),
		...finding({
			kind: "file",
			severity: "error",
			message: `${plural(short.length, "data file")} ${short.length === 1 ? "ends" : "end"} before the last of the entries that are read`,
			raises: "RuntimeError: PytorchStreamReader failed reading zip archive: …",
			hint: "Copy the checkpoint again: the file was cut off.",
			all: short.map(({ name, bytes }) => `${name} has ${bytes} of ${ends.get(name) ?? 0} bytes`),
		}),
	];
}

/** Bytes of the smallest container that torch reads, without data. */
const LEAST_CONTAINER = 400;

function entryFindings(tensors: readonly PlacedTensor[]): readonly LintFinding[] {
	const short = tensors.flatMap(({ stored }) =>
		stored.entries
			.filter(
				({ dtype, box, length }) => length < numel(box.size) * itemBytes(dtype) + LEAST_CONTAINER,
			)
			.map(({ fqn, box, length }) => `${fqn} ${formatBox(box)}: ${length} bytes`),
	);
	return finding({
		kind: "entry",
		severity: "error",
		message: `${plural(short.length, "entry", "entries")} ${short.length === 1 ? "is" : "are"} too short for the chunk that the metadata promises`,
		raises:
			"RuntimeError or IndexError: what is in the entry is smaller than the part that is asked of it, or is no archive",
		hint: "The metadata and the data files are not of one checkpoint: make it again.",
		all: short,
	});
}
