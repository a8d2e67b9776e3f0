import { describe, expect, test } from "vitest";
import { decodeMetadata } from "../../src/dcp/metadata-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";
import type { Layout } from "../../src/core/layout.ts";
import { createLikeLayout, ranksOfFiles } from "../../src/layout/like-layout.ts";
import { createPlacedLayout } from "../../src/layout/placed-layout.ts";
import { matchKeys } from "../../src/models/match-keys.ts";
import { checkpointIndexOf } from "../../src/plan/checkpoint-index.ts";
import { createPlan, type PlanInputs } from "../../src/plan/create-plan.ts";
import { identityLines } from "../../src/plan/plan-id.ts";
import type { Plan } from "../../src/plan/types.ts";
import { goldenLayoutNames, readGoldenLayout } from "../support/golden-layouts.ts";
import { goldenInputs } from "../support/golden-plan.ts";
import { layoutFileOf } from "../support/layout-files.ts";

/** Everything that a plan writes and fetches, and where. */
function contentOf(plan: Plan): object {
	const { entries, files, tensors, tiles } = plan;
	return { entries, files, tensors, tiles };
}

function underFile(inputs: PlanInputs, name: string): Layout {
	const file = layoutFileOf(readGoldenLayout(name));
	const tensors = inputs.map.recipes.map(({ fqn, expr: { shape, dtype } }) => ({
		fqn,
		shape,
		dtype,
	}));
	return createPlacedLayout({ where: name, files: [file], tensors, keepsDtypes: true });
}

/** What is read of the checkpoint that `plan` makes, matched with the model again. */
function likeInputs(inputs: PlanInputs, plan: Plan): PlanInputs {
	const { tensors } = decodeMetadata(encodeMetadata(checkpointIndexOf(plan)), ".metadata");
	const { map } = matchKeys({
		where: "it",
		keys: tensors,
		targets: ["any"],
		mapTo: () => inputs.map,
		keepsDtypes: true,
	});
	const files = plan.files.map(({ name }) => name);
	const worldSize = ranksOfFiles(files, "it");
	const layout = createLikeLayout({ where: "it", tensors, worldSize });
	return { ...inputs, map, layout, dtype: undefined };
}

const names = goldenLayoutNames();

describe("the blocks and ranks of a layout file", () => {
	test.each(names)("are those of the rules: %s", (name) => {
		const inputs = goldenInputs(readGoldenLayout(name));
		const placed = underFile(inputs, name);
		expect(placed.worldSize).toBe(inputs.layout.worldSize);
		const shapes = inputs.map.recipes.map(({ fqn, expr }) => [fqn, expr.shape] as const);
		for (const [fqn, shape] of shapes) {
			expect(placed.shardsOf(fqn, shape), fqn).toEqual(inputs.layout.shardsOf(fqn, shape));
		}
		expect(shapes.length).toBeGreaterThan(10);
	});
});

/** Beyond this, one plan takes seconds and the layouts tell nothing new. */
const MOST_RANKS = 16;

const planned = names.filter((name) => readGoldenLayout(name).world_size <= MOST_RANKS);

describe("rules, a layout file and a checkpoint that was made by the rules give one plan", () => {
	test.each(planned)("%s", (name) => {
		const inputs = goldenInputs(readGoldenLayout(name));
		const byRules = createPlan(inputs);
		const wanted = contentOf(byRules);
		const file = { ...inputs, layout: underFile(inputs, name), dtype: undefined };
		expect(contentOf(createPlan(file))).toEqual(wanted);
		const like = createPlan(likeInputs(inputs, byRules));
		expect(contentOf(like)).toEqual(wanted);
		expect(like.entries.length).toBeGreaterThan(10);
	});

	test("also where several workers share the work", () => {
		const inputs = goldenInputs(readGoldenLayout(planned[0]!));
		const [own, ...plan] = [...identityLines(createPlan({ ...inputs, shares: 3 }))];
		const like = likeInputs(inputs, createPlan(inputs));
		const [other, ...others] = [...identityLines(createPlan({ ...like, shares: 3 }))];
		expect(others).toEqual(plan);
		expect(other).toBe(own);
	});
});
