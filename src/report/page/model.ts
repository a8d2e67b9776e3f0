import { itemBytes } from "../../core/dtype.ts";
import { entryOf, type PackedPattern, type PackedReport, type PackedTensors } from "../packed.ts";
import type { ReportEntry } from "../report-data.ts";

/** Ranks from the first up to and including the last. */
export type RankRanges = readonly (readonly [first: number, last: number])[];

/** What a rank holds of all tensors. */
export interface RankHolding {
	readonly bytes: number;
	readonly entries: number;
	/** Tensors of which it holds something. */
	readonly tensors: number;
	/** Bytes that it holds of one tensor, and blocks, which may have no elements. */
	bytesOf(tensor: number): number;
	entriesOf(tensor: number): number;
}

/** The report, with what its views ask of it. Tensors, patterns and files are indices. */
export interface Model {
	readonly head: PackedReport["head"];
	readonly tensorCount: number;
	nameOf(tensor: number): string;
	patternOf(tensor: number): PackedPattern;
	entryCountOf(tensor: number): number;
	/** Of all elements, bytes. */
	bytesOf(tensor: number): number;
	entryOf(tensor: number, entry: number): ReportEntry;
	/** Data bytes of one entry. */
	entryBytesOf(tensor: number, entry: number): number;
	/** Who holds a set's blocks. */
	rangesOf(holders: number): RankRanges;
	/** Whether a rank is among a set of holders. */
	holds(holders: number, rank: number): boolean;
	/** The first rank of a set; −1 for an empty one. */
	firstRankOf(holders: number): number;
	/** Data bytes that each rank holds, replicas counted for each. */
	readonly rankBytes: Float64Array;
	holdingOf(rank: number): RankHolding;
}

/** Per pattern, what its tensors have in common. */
interface PatternFacts {
	readonly bytes: number;
	readonly entryBytes: readonly number[];
	/** Of each set of holders: its bytes and entries. */
	readonly sets: ReadonlyMap<number, readonly [bytes: number, entries: number]>;
}

/**
 * Reads the packed report.
 *
 * @param offsets - Called when the first tensor is looked at.
 */
export function createModel(
	head: PackedReport["head"],
	tensors: PackedTensors,
	offsets: () => PackedReport["offsets"],
): Model {
	const ranges = head.holders.map(parseRanges);
	const facts = tensors.patterns.map(factsOf);
	const patternIndex = (tensor: number): number => tensors.pattern[tensor] ?? 0;
	const patternOf = (tensor: number): PackedPattern =>
		found(tensors.patterns[patternIndex(tensor)]);
	const factOf = (tensor: number): PatternFacts => found(facts[patternIndex(tensor)]);
	const holds = (holders: number, rank: number): boolean => isAmong(ranges[holders] ?? [], rank);
	let loaded: PackedReport["offsets"] | undefined;
	const tensorCounts = new Float64Array(facts.length);
	for (const pattern of tensors.pattern) tensorCounts[pattern] = (tensorCounts[pattern] ?? 0) + 1;
	return {
		head,
		tensorCount: tensors.names.length,
		nameOf: (tensor) => tensors.names[tensor] ?? "",
		patternOf,
		entryCountOf: (tensor) => patternOf(tensor).holders.length,
		bytesOf: (tensor) => factOf(tensor).bytes,
		entryBytesOf: (tensor, entry) => factOf(tensor).entryBytes[entry] ?? 0,
		entryOf(tensor, entry) {
			loaded ??= offsets();
			const file = tensors.fileLists[tensors.files[tensor] ?? 0]?.[entry] ?? 0;
			return entryOf(patternOf(tensor), entry, file, loaded[tensor]?.[entry] ?? 0);
		},
		rangesOf: (holders) => ranges[holders] ?? [],
		holds,
		firstRankOf: (holders) => ranges[holders]?.[0]?.[0] ?? -1,
		rankBytes: bytesPerRank(head.worldSize, ranges, facts, tensorCounts),
		holdingOf: (rank) => holdingOf(rank, facts, tensors.pattern, holds),
	};
}

function found<T>(value: T | undefined): T {
	if (value === undefined) throw new RangeError("the report does not agree with itself");
	return value;
}

function factsOf({ dtype, shape, boxes, holders }: PackedPattern): PatternFacts {
	const axes = shape.length;
	const sets = new Map<number, readonly [number, number]>();
	const entryBytes = holders.map((set, entry) => {
		let size = itemBytes(dtype);
		for (let axis = 0; axis < axes; axis++) size *= boxes[(entry * 2 + 1) * axes + axis] ?? 1;
		const [bytes, entries] = sets.get(set) ?? [0, 0];
		sets.set(set, [bytes + size, entries + 1]);
		return size;
	});
	return { bytes: entryBytes.reduce((sum, size) => sum + size, 0), entryBytes, sets };
}

function parseRanges(text: string): RankRanges {
	if (text === "") return [];
	return text.split(",").map((range) => {
		const [first = "0", last = first] = range.split("-");
		return [Number(first), Number(last)] as const;
	});
}

function isAmong(ranges: RankRanges, rank: number): boolean {
	let low = 0;
	let high = ranges.length;
	while (low < high) {
		const middle = (low + high) >>> 1;
		const [first, last] = ranges[middle] ?? [0, -1];
		if (rank < first) high = middle;
		else if (rank > last) low = middle + 1;
		else return true;
	}
	return false;
}

/** Adds up differences: a set of holders may have as many ranks as the job. */
function bytesPerRank(
	worldSize: number,
	ranges: readonly RankRanges[],
	facts: readonly PatternFacts[],
	tensorCounts: Float64Array,
): Float64Array {
	const perSet = new Float64Array(ranges.length);
	facts.forEach(({ sets }, pattern) => {
		for (const [set, [bytes]] of sets) {
			perSet[set] = (perSet[set] ?? 0) + bytes * (tensorCounts[pattern] ?? 0);
		}
	});
	const steps = new Float64Array(worldSize + 1);
	ranges.forEach((own, set) => {
		const bytes = perSet[set] ?? 0;
		for (const [first, last] of own) {
			steps[first] = (steps[first] ?? 0) + bytes;
			steps[last + 1] = (steps[last + 1] ?? 0) - bytes;
		}
	});
	let sum = 0;
	return Float64Array.from({ length: worldSize }, (_, rank) => (sum += steps[rank] ?? 0));
}

function holdingOf(
	rank: number,
	facts: readonly PatternFacts[],
	patterns: readonly number[],
	holds: Model["holds"],
): RankHolding {
	const known = new Map<number, boolean>();
	const isHeld = (set: number): boolean => {
		const is = known.get(set) ?? holds(set, rank);
		known.set(set, is);
		return is;
	};
	const perPattern = facts.map(({ sets }) => {
		let bytes = 0;
		let entries = 0;
		for (const [set, own] of sets) {
			if (!isHeld(set)) continue;
			bytes += own[0];
			entries += own[1];
		}
		return { bytes, entries };
	});
	let bytes = 0;
	let entries = 0;
	let tensors = 0;
	for (const pattern of patterns) {
		const own = perPattern[pattern];
		bytes += own?.bytes ?? 0;
		entries += own?.entries ?? 0;
		tensors += (own?.entries ?? 0) > 0 ? 1 : 0;
	}
	const bytesOf = (tensor: number): number => perPattern[patterns[tensor] ?? 0]?.bytes ?? 0;
	const entriesOf = (tensor: number): number => perPattern[patterns[tensor] ?? 0]?.entries ?? 0;
	return { bytes, entries, tensors, bytesOf, entriesOf };
}
