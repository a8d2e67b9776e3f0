import { invariant } from "../core/errors.ts";
import { at } from "../core/shape.ts";
import type { Atom, Draft } from "./atoms.ts";

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
	const leaderOf = leadersOf(atoms);
	const byLeader = new Map<Draft, { drafts: Set<Draft>; atoms: Atom[] }>();
	for (const atom of atoms) {
		const leader = leaderOf(at(atom.drafts, 0));
		const group = byLeader.get(leader) ?? { drafts: new Set(), atoms: [] };
		byLeader.set(leader, group);
		group.atoms.push(atom);
		for (const draft of atom.drafts) group.drafts.add(draft);
	}
	return [...byLeader.values()]
		.map((group): Group => {
			const drafts = [...group.drafts];
			const fetched = group.atoms.reduce((sum, { bytes }) => sum + bytes, 0);
			const written = drafts.reduce((sum, draft) => sum + lengthOf(draft), 0);
			return { drafts, atoms: group.atoms, bytes: fetched + written };
		})
		.map((group) => ({ group, first: firstByteOf(group) }))
		.toSorted((a, b) => a.first.file - b.first.file || a.first.start - b.first.start)
		.map(({ group }) => group);
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

/** Union-find over drafts: drafts that atoms connect have the same leader. */
function leadersOf(atoms: readonly Atom[]): (draft: Draft) => Draft {
	const parents = new Map<Draft, Draft>();
	const parentOf = (draft: Draft): Draft => parents.get(draft) ?? draft;
	const leaderOf = (draft: Draft): Draft => {
		let leader = draft;
		for (let next = parentOf(leader); next !== leader; next = parentOf(leader)) {
			// Halving the path on the way keeps later searches short.
			parents.set(leader, parentOf(next));
			leader = parentOf(leader);
		}
		return leader;
	};
	for (const { drafts } of atoms) {
		const [first] = drafts;
		invariant(first !== undefined, "an atom without drafts");
		for (const draft of drafts) {
			const leader = leaderOf(draft);
			const chosen = leaderOf(first);
			if (leader !== chosen) parents.set(leader, chosen);
		}
	}
	return leaderOf;
}
