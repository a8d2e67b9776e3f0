import { at } from "../core/shape.ts";
import { type Atom, type Draft, spansWithin } from "./region.ts";
import { compareRanges, stagingBytesOf, unionRanges } from "./footprint.ts";
import type { PlanRange, PlanSlab, PlanTile } from "./types.ts";

/**
 * Packs atoms into tiles: atoms whose source bytes follow one another share a tile, and so a request, up to `tileBytes`.
 * Constants, which need no bytes, make one tile of their own.
 *
 * @param entryOf - Index of a draft's entry.
 */
export function packTiles(
	atoms: readonly Atom[],
	entryOf: (draft: Draft) => number,
	tileBytes: number,
): PlanTile[] {
	const constants = atoms.filter((atom) => atom.ranges.length === 0);
	const sorted = atoms
		.filter((atom) => atom.ranges.length > 0)
		.toSorted((a, b) => compareRanges(at(a.ranges, 0), at(b.ranges, 0)));
	const bins: { atoms: Atom[]; bytes: number }[] = [];
	let before: readonly PlanRange[] = [];
	for (const atom of sorted) {
		const runs = runsOfAtom(atom);
		const bin = bins.at(-1);
		const isNext = runs.some((run) =>
			before.some(({ file, end }) => file === run.file && end === run.start),
		);
		if (bin !== undefined && isNext && bin.bytes + atom.bytes <= tileBytes) {
			bin.atoms.push(atom);
			bin.bytes += atom.bytes;
		} else bins.push({ atoms: [atom], bytes: atom.bytes });
		before = runs;
	}
	if (constants.length > 0) bins.unshift({ atoms: constants, bytes: 0 });
	return bins.map((bin) => {
		const ranges = unionRanges(bin.atoms.flatMap(allRanges));
		return { ranges, stagingBytes: stagingBytesOf(ranges), slabs: slabsOf(bin.atoms, entryOf) };
	});
}

function allRanges({ ranges, scaleRanges }: Atom): readonly PlanRange[] {
	return [...ranges, ...scaleRanges];
}

/**
 * What another atom may follow on: the range of the elements, and that of elements and scales where these lie beside one another.
 * An atom of scattered ranges is followed by nothing: what lies between them belongs to others.
 */
function runsOfAtom(atom: Atom): readonly PlanRange[] {
	if (atom.ranges.length !== 1) return [];
	if (atom.scaleRanges.length === 0) return atom.ranges;
	const all = unionRanges(allRanges(atom));
	return all.length === 1 ? [...atom.ranges, ...all] : atom.ranges;
}

/** What atoms fill, with neighbouring entries of the same spans in one slab. */
function slabsOf(atoms: readonly Atom[], entryOf: (draft: Draft) => number): PlanSlab[] {
	const bySpans = new Map<string, { spans: PlanSlab["spans"]; entries: number[] }>();
	for (const { drafts, spans: wanted } of atoms) {
		for (const draft of drafts) {
			const spans = spansWithin(draft.box, wanted);
			const key = spans.map(({ axis, start, end }) => `${axis}:${start}:${end}`).join();
			const group = bySpans.get(key) ?? { spans, entries: [] };
			bySpans.set(key, group);
			group.entries.push(entryOf(draft));
		}
	}
	return [...bySpans.values()].flatMap(({ spans, entries }) =>
		runsOf(entries).map(([firstEntry, endEntry]) => ({ firstEntry, endEntry, spans })),
	);
}

/** Runs of consecutive numbers, half-open, ascending. */
function runsOf(numbers: number[]): [first: number, end: number][] {
	const runs: [number, number][] = [];
	for (const number of numbers.toSorted((a, b) => a - b)) {
		const last = runs.at(-1);
		if (last !== undefined && last[1] === number) last[1]++;
		else runs.push([number, number + 1]);
	}
	return runs;
}
