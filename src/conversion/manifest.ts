import { formatRankRanges } from "../core/rank-ranges.ts";
import { at } from "../core/shape.ts";
import type { EndedJob } from "../job/commit.ts";
import type { ParallelismInput } from "../layout/parallelism.ts";
import type { ManifestInput } from "../manifest/encode.ts";
import type { ManifestEntry } from "../manifest/manifest.ts";
import type { ConvertOptions } from "../options.ts";
import { holderSetsOf } from "../plan/holder-sets.ts";
import type { PlanShare } from "../plan/share.ts";
import type { Plan, PlanTensor } from "../plan/types.ts";
import type { LayoutChoice } from "./layout-choice.ts";
import type { PlannedConversion } from "./plan-conversion.ts";

/** What of a conversion its manifest tells. */
export interface ManifestFacts {
	readonly options: ConvertOptions;
	readonly choice: LayoutChoice;
	readonly prepared: Pick<PlannedConversion, "plan" | "layout" | "map">;
	/** The entries that the directory holds: all, or with a local output some. */
	readonly part: PlanShare;
	/** Ranks whose entries these are; `undefined` when they are all. */
	readonly ranks: readonly number[] | undefined;
}

/** Makes the manifest of a conversion as soon as it has ended. */
export function manifestOf(facts: ManifestFacts): (ended: EndedJob) => ManifestInput {
	const { prepared, choice, options, part, ranks } = facts;
	const { plan, layout, map } = prepared;
	return ({ summary, metadata, sumsOf }) => {
		const holders = holderSetsOf(plan, layout);
		const entriesOf = entryLister(plan, part, holders.setOf, sumsOf);
		return {
			format: "hf-stream-dcp manifest 1",
			tool: summary.tool,
			planVersion: plan.version,
			planId: summary.planId,
			command: summary.command,
			source: plan.source,
			family: plan.family,
			target: plan.target,
			facts: map.facts,
			rules: map.rules,
			layout: {
				description: plan.layout,
				worldSize: plan.worldSize,
				mesh: meshOf(choice, options.parallelism),
			},
			hash: options.hash,
			ranks: ranks === undefined ? undefined : formatRankRanges(ranks),
			metadata,
			files: plan.files,
			holders: holders.sets.map(formatRankRanges),
			tensors: plan.tensors.map((tensor) => ({
				fqn: tensor.fqn,
				dtype: tensor.dtype,
				shape: tensor.shape,
				recipe: tensor.expr,
				entries: { [Symbol.iterator]: () => entriesOf(tensor) },
			})),
			tied: plan.tied,
			dropped: plan.dropped,
			synthesised: plan.synthesised,
			dequantised: plan.dequantised,
			summary,
		};
	};
}

/** Lists entries of the plan as the manifest has them. */
function entryLister(
	plan: Plan,
	part: PlanShare,
	setOf: Uint32Array,
	sumsOf: EndedJob["sumsOf"],
): (tensor: PlanTensor) => Generator<ManifestEntry> {
	const files = new Map(plan.files.map(({ name }, index) => [name, index]));
	const places = placesInShares(plan, part);
	return function* ({ firstEntry, endEntry }) {
		for (let index = firstEntry; index < endEntry; index++) {
			const { box, file, offset, length, share } = at(plan.entries, index);
			const place = places[index] ?? 0;
			yield {
				box,
				file: files.get(file) ?? 0,
				offset,
				length,
				holders: setOf[index] ?? 0,
				...(place === 0 ? undefined : sumsOf(share, place - 1)),
			};
		}
	};
}

/** For every entry of the plan one more than its index in its share; 0 for those that the directory does not hold. */
function placesInShares(plan: Plan, { entries }: PlanShare): Uint32Array {
	const places = new Uint32Array(plan.entries.length);
	const counts = new Uint32Array(plan.shares);
	for (const index of entries) {
		const { share } = at(plan.entries, index);
		places[index] = counts[share] = (counts[share] ?? 0) + 1;
	}
	return places;
}

/** The mesh as the command gave it, with all degrees. */
function meshOf(choice: LayoutChoice, given: ParallelismInput): ParallelismInput | undefined {
	if (choice.kind !== "mesh") return undefined;
	const { dpReplicate, dpShard, tp, cp, pp, ep, etp, worldSize } = choice.parallelism;
	return { ...given, dpReplicate, dpShard, tp, cp, pp, ep, etp, worldSize };
}
