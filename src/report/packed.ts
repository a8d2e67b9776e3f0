import type { Dtype } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import type { ReportData, ReportEntry, ReportTensor } from "./report-data.ts";

/**
 * A report as its page carries it: what tensors have in common is written once. The layers of a model are cut alike, and so a million
 * blocks come to a few hundred patterns.
 */
export interface PackedReport {
	/** All of the report but its tensors. */
	readonly head: Omit<ReportData, "tensors">;
	readonly tensors: PackedTensors;
	/** Offsets of the entries in their files, bytes: of all tensors, one list for each. Read only when a tensor is looked at. */
	readonly offsets: readonly (readonly number[])[];
}

/** Columns, one element for each tensor. */
export interface PackedTensors {
	readonly names: readonly string[];
	/** Index in `patterns`. */
	readonly pattern: readonly number[];
	/** Index in `fileLists`. */
	readonly files: readonly number[];
	readonly patterns: readonly PackedPattern[];
	/** For each entry of a tensor its file; an index in the report's files. */
	readonly fileLists: readonly (readonly number[])[];
}

/** How tensors are cut that are cut alike. */
export interface PackedPattern {
	readonly dtype: Dtype;
	readonly shape: Shape;
	/** Of each entry: the offsets, then the sizes, of its box. */
	readonly boxes: readonly number[];
	/** Of each entry: who holds it; an index in the report's holders. */
	readonly holders: readonly number[];
	/** Of each entry: bytes in its file. */
	readonly lengths: readonly number[];
}

/** Writes a report down in columns. Pure. */
export function packReport(data: ReportData): PackedReport {
	const { tensors, ...head } = data;
	const patterns = new Numbered<PackedPattern>();
	const fileLists = new Numbered<readonly number[]>();
	return {
		head,
		tensors: {
			names: tensors.map(({ fqn }) => fqn),
			pattern: tensors.map((tensor) => patterns.numberOf(patternOf(tensor))),
			files: tensors.map(({ entries }) => fileLists.numberOf(entries.map(({ file }) => file))),
			patterns: patterns.values,
			fileLists: fileLists.values,
		},
		offsets: tensors.map(({ entries }) => entries.map(({ offset }) => offset)),
	};
}

/** The tensors of a packed report. Pure; what {@link packReport} wrote. */
export function unpackTensors({ tensors, offsets }: PackedReport): ReportTensor[] {
	return tensors.names.map((fqn, index) => {
		const pattern = tensors.patterns[tensors.pattern[index] ?? 0];
		if (pattern === undefined) throw new RangeError(`${fqn} has no pattern`);
		const { dtype, shape } = pattern;
		const files = tensors.fileLists[tensors.files[index] ?? 0] ?? [];
		const entries = files.map((file, entry) =>
			entryOf(pattern, entry, file, offsets[index]?.[entry] ?? 0),
		);
		return { fqn, dtype, shape, entries };
	});
}

function patternOf({ dtype, shape, entries }: ReportTensor): PackedPattern {
	return {
		dtype,
		shape,
		boxes: entries.flatMap(({ box }) => [...box.offset, ...box.size]),
		holders: entries.map(({ holders }) => holders),
		lengths: entries.map(({ length }) => length),
	};
}

/** Entry `entry` of a tensor that is cut like `pattern`. */
export function entryOf(
	pattern: PackedPattern,
	entry: number,
	file: number,
	offset: number,
): ReportEntry {
	const axes = pattern.shape.length;
	const start = entry * 2 * axes;
	return {
		box: {
			offset: pattern.boxes.slice(start, start + axes),
			size: pattern.boxes.slice(start + axes, start + 2 * axes),
		},
		file,
		offset,
		length: pattern.lengths[entry] ?? 0,
		holders: pattern.holders[entry] ?? 0,
	};
}

/** Distinct values in the order in which they were first seen. */
class Numbered<T> {
	readonly values: T[] = [];
	readonly #numbers = new Map<string, number>();

	/** Which of `values` it is. */
	numberOf(value: T): number {
		const key = JSON.stringify(value);
		const known = this.#numbers.get(key);
		if (known !== undefined) return known;
		this.#numbers.set(key, this.values.length);
		return this.values.push(value) - 1;
	}
}
