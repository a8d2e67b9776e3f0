import { at } from "../core/shape.ts";
import type { Atom, Draft } from "./atoms.ts";
import { compareRanges, unionRanges } from "./footprint.ts";
import type { PlanPart, PlanTile } from "./types.ts";

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
	let end: { file: number; end: number } | undefined;
	for (const atom of sorted) {
		const first = at(atom.ranges, 0);
		const bin = bins.at(-1);
		const follows = end?.file === first.file && end.end === first.start && atom.ranges.length === 1;
		if (bin !== undefined && follows && bin.bytes + atom.bytes <= tileBytes) {
			bin.atoms.push(atom);
			bin.bytes += atom.bytes;
		} else bins.push({ atoms: [atom], bytes: atom.bytes });
		// An atom of scattered ranges is followed by nothing: what lies between them belongs to others.
		end = atom.ranges.length === 1 ? first : undefined;
	}
	if (constants.length > 0) bins.unshift({ atoms: constants, bytes: 0 });
	return bins.map((bin) => ({
		ranges: unionRanges(bin.atoms.flatMap((atom) => atom.ranges)),
		stagingBytes: bin.bytes,
		parts: partsOf(bin.atoms, entryOf),
	}));
}

function partsOf(atoms: readonly Atom[], entryOf: (draft: Draft) => number): PlanPart[] {
	return atoms
		.flatMap((atom) => atom.parts.map(({ draft, box }) => ({ entry: entryOf(draft), box })))
		.toSorted((a, b) => a.entry - b.entry || compareOffsets(a.box.offset, b.box.offset));
}

function compareOffsets(a: readonly number[], b: readonly number[]): number {
	const axis = a.findIndex((offset, d) => offset !== b[d]);
	return axis < 0 ? 0 : at(a, axis) - at(b, axis);
}
