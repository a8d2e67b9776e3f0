import { createHash } from "node:crypto";
import type { CommandFacts } from "../job/manifest.ts";
import type { JobPlan } from "../job/prepare.ts";
import { formatRanks, ranksOf } from "./local-output.ts";
import { resolveParallelism } from "../layout/parallelism.ts";
import type { ConvertOptions } from "../options.ts";
import { identityLines } from "../plan/plan-id.ts";
import type { Plan } from "../plan/types.ts";
import { VERSION } from "../version.ts";
import type { ShareFacts } from "../plan/share-facts.ts";

/** What makes a command the same command. Where a path leads is the same on all machines of a job. */
export function commandOf(options: ConvertOptions): CommandFacts {
	const { repo, revision = "main", family = "by config.json", target, dtype } = options;
	const parallelism = resolveParallelism(options.parallelism);
	const { schedule, division, dpReplicate, dpShard, tp, cp, pp, ep, etp } = parallelism;
	const degrees = { dpReplicate, dpShard, tp, cp, pp, ep, etp };
	const ranks = ranksOf(options, parallelism.worldSize);
	return {
		model: repo,
		revision,
		family,
		target,
		dtype,
		...(options.keepQuantized ? { quantized: "kept" } : {}),
		mesh: Object.entries(degrees)
			.map(([name, degree]) => `${name} ${degree}`)
			.join(", "),
		pipeline: pp === 1 ? "none" : JSON.stringify({ schedule, division }),
		version: VERSION,
		...(ranks === undefined ? {} : { ranks: formatRanks(ranks) }),
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
