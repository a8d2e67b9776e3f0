import { createHash } from "node:crypto";
import type { CommandFacts } from "../core/job-summary.ts";
import type { JobPlan } from "../job/prepare.ts";
import { defaultTargetOf, familyFacts } from "./family/family-facts.ts";
import { formatRankRanges } from "../core/rank-ranges.ts";
import { ranksOf } from "./local-output.ts";
import type { ConvertOptions } from "../options.ts";
import { identityLines } from "../plan/plan-id.ts";
import type { Plan } from "../plan/types.ts";
import { VERSION } from "../version.ts";
import type { ShareFacts } from "../plan/share-facts.ts";
import type { LayoutChoice } from "./layout-choice.ts";

/**
 * What makes a command the same command. Where the model's path leads is the same on all machines of a job.
 *
 * @param options - With the family read.
 */
export function commandOf(options: ConvertOptions, choice: LayoutChoice): CommandFacts {
	const { repo, revision = "main", family } = options;
	const isLike = choice.kind === "like";
	const { target = isLike ? "as the layout spells it" : defaultTargetOf(family) } = options;
	const { dtype = choice.kind === "mesh" ? "keep" : "as the layout says" } = options;
	const ranks = ranksOf(options, choice.worldSize);
	return {
		model: repo,
		revision,
		...familyFacts(family),
		target,
		dtype,
		...(options.keepQuantized ? { quantized: "kept" } : {}),
		...layoutFacts(choice),
		hash: options.hash,
		version: VERSION,
		...(ranks === undefined ? {} : { ranks: formatRankRanges(ranks).replaceAll(",", ", ") }),
	};
}

/** A layout that was read counts by what it says, wherever it lies. */
function layoutFacts(choice: LayoutChoice): CommandFacts {
	if (choice.kind !== "mesh") return { layout: `${choice.kind}, sha256 ${choice.digest}` };
	const { schedule, division, dpReplicate, dpShard, tp, cp, pp, ep, etp } = choice.parallelism;
	return {
		mesh: Object.entries({ dpReplicate, dpShard, tp, cp, pp, ep, etp })
			.map(([name, degree]) => `${name} ${degree}`)
			.join(", "),
		pipeline: pp === 1 ? "none" : JSON.stringify({ schedule, division }),
	};
}

/** What the workers of a job have to know of a plan. */
export function jobPlanOf(plan: Plan, facts: readonly ShareFacts[]): JobPlan {
	const shares = facts.map(({ entries, files }) => ({ entries, files }));
	return { planId: planIdOf(plan), shares };
}

/** 64 hex digits that change whenever the plan would write other bytes or put them elsewhere. */
function planIdOf(plan: Plan): string {
	const hash = createHash("sha256");
	for (const line of identityLines(plan)) hash.update(line).update("\n");
	return hash.digest("hex");
}
