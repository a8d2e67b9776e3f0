import type { SourceNote } from "../core/recipe.ts";
import type { Source } from "../core/source.ts";

/** What became of the tensors of a source. It is proven before a plan is made: any other state is an error. */
export interface Coverage {
	/** Source tensors of which each element is stored exactly once, but for those that are tied; scales among them. */
	readonly used: number;
	/** Those among them that are stored again under another key. */
	readonly tied: number;
	/** Source tensors that are left out, by rule. */
	readonly dropped: readonly DroppedTensors[];
	/** Target tensors that no source has. */
	readonly synthesised: number;
}

/** Source tensors that one rule leaves out. */
export interface DroppedTensors {
	/** The rule's words: `vision_model.*: vision tensors are not part of the text model`. */
	readonly reason: string;
	readonly tensors: number;
	/** Name of the first of them. */
	readonly first: string;
}

/** Counts what a map says of every source tensor. */
export function coverageOf(
	source: Pick<Source, "tensors">,
	map: {
		readonly tied: readonly SourceNote[];
		readonly dropped: readonly SourceNote[];
		readonly synthesised: readonly string[];
	},
): Coverage {
	const byReason = new Map<string, { tensors: number; readonly first: string }>();
	for (const { name, reason } of map.dropped) {
		const group = byReason.get(reason);
		if (group === undefined) byReason.set(reason, { tensors: 1, first: name });
		else group.tensors++;
	}
	return {
		used: source.tensors.length - map.dropped.length,
		tied: new Set(map.tied.map(({ name }) => name)).size,
		dropped: [...byReason].map(([reason, group]) => ({ reason, ...group })),
		synthesised: map.synthesised.length,
	};
}
