import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { inspectSource } from "../../src/inspect.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { type ParallelismInput, resolveParallelism } from "../../src/layout/parallelism.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import type { Plan } from "../../src/plan/types.ts";

/** What a job's plan depends on, beside the number of its shares. */
export interface JobPlanOptions {
	/** `org/name`. */
	readonly repo: string;
	readonly environment: { readonly [name: string]: string };
	readonly parallelism: ParallelismInput;
	readonly memoryBytes: number;
}

/** The plans of a job for each of these numbers of shares. */
export async function plansFor(
	{ repo, environment, parallelism, memoryBytes }: JobPlanOptions,
	counts: readonly number[],
): Promise<ReadonlyMap<number, Plan>> {
	await using opened = await inspectSource({ repo, environment });
	const { source } = opened;
	const map = mapModel({ source, target: "torchtitan" });
	const mesh = resolveParallelism(parallelism);
	const layout = createLayout({ parallelism: mesh, rules: map.rules, facts: map.facts });
	const limits = limitsFor(memoryBytes);
	const plans = counts.map((shares): [number, Plan] => {
		const inputs = { source, map, layout, format: torchSaveFormat, limits, shares };
		return [shares, createPlan({ ...inputs, dtype: "keep" })];
	});
	return new Map(plans);
}
