import { at } from "../core/shape.ts";
import type { Atom, Draft } from "./region.ts";
import { createDisjointSets } from "./disjoint-sets.ts";

/** Drafts that cannot be parted without fetching a source byte twice or filling one entry from two sides. */
export interface Group {
	readonly drafts: readonly Draft[];
	readonly atoms: readonly Atom[];
	/** What it costs: bytes to fetch and bytes to write. */
	readonly bytes: number;
}

/**
 * The connected components of drafts over the atoms that fill them, in source order: by their first byte, constants first.
 *
 * @param lengthOf - Bytes that a draft will take in its file.
 */
export function groupsOf(
	atoms: readonly Atom[],
	lengthOf: (draft: Draft) => number,
): readonly Group[] {
	const indices = new Map<Draft, number>();
	for (const { drafts } of atoms) {
		for (const draft of drafts) if (!indices.has(draft)) indices.set(draft, indices.size);
	}
	const leaderOf = leadersOf(atoms, indices);
	const byLeader = new Map<number, OpenGroup>();
	const groupAt = (index: number): OpenGroup => {
		const leader = leaderOf(index);
		let group = byLeader.get(leader);
		if (group === undefined) {
			group = { drafts: [], atoms: [], bytes: 0 };
			byLeader.set(leader, group);
		}
		return group;
	};
	for (const [draft, index] of indices) {
		const group = groupAt(index);
		group.drafts.push(draft);
		group.bytes += lengthOf(draft);
	}
	for (const atom of atoms) {
		const group = groupAt(indices.get(at(atom.drafts, 0)) ?? 0);
		group.atoms.push(atom);
		group.bytes += atom.bytes;
	}
	return [...byLeader.values()].toSorted(compareGroups);
}

interface OpenGroup extends Group {
	readonly drafts: Draft[];
	readonly atoms: Atom[];
	bytes: number;
}

function compareGroups(a: Group, b: Group): number {
	const [first, second] = [firstByteOf(a), firstByteOf(b)];
	return first.file - second.file || first.start - second.start;
}

/** The sum of what groups cost. */
export function bytesOf(groups: readonly Group[]): number {
	return groups.reduce((sum, { bytes }) => sum + bytes, 0);
}

const BEFORE_ALL = { file: -1, start: 0 };

function firstByteOf({ atoms }: Group): { readonly file: number; readonly start: number } {
	let first: { readonly file: number; readonly start: number } | undefined;
	for (const { ranges } of atoms) {
		const range = ranges[0];
		if (range === undefined) continue;
		const isEarlier =
			first === undefined ||
			range.file < first.file ||
			(range.file === first.file && range.start < first.start);
		if (isEarlier) first = range;
	}
	return first ?? BEFORE_ALL;
}

/** Drafts, as their indices, that atoms connect have the same leader. */
function leadersOf(
	atoms: readonly Atom[],
	indices: ReadonlyMap<Draft, number>,
): (index: number) => number {
	const sets = createDisjointSets(indices.size);
	for (const { drafts } of atoms) {
		const first = indices.get(at(drafts, 0)) ?? 0;
		for (const draft of drafts) sets.join(first, indices.get(draft) ?? 0);
	}
	return (index) => sets.leaderOf(index);
}
