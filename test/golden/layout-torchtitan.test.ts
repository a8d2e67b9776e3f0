import { describe, expect, test } from "vitest";
import type { Layout, LayoutRules } from "../../src/core/layout.ts";
import type { Placement } from "../../src/layout/chunk.ts";
import { placementsOf } from "../../src/layout/cuts.ts";
import { coordinatesOf, denseMesh, rankAt, sparseMesh } from "../../src/layout/mesh.ts";
import type { Parallelism } from "../../src/layout/parallelism.ts";
import { createPipeline } from "../../src/layout/pipeline.ts";
import { torchtitanCuts } from "../../src/layout/torchtitan-rules.ts";
import {
	type GoldenLayout,
	goldenLayoutNames,
	layoutOf,
	readGoldenLayout,
} from "../support/golden-layouts.ts";

const names = goldenLayoutNames();
const compared = { rows: 0, empty: 0, absent: 0, placements: 0, pipelines: 0, ranks: 0 };

describe("every rank and key of torchtitan's layouts", () => {
	test.each(names)("%s", (name) => {
		const golden = readGoldenLayout(name);
		const { parallelism, rules, layers, layout } = layoutOf(golden);
		expect(parallelism.worldSize).toBe(golden.world_size);
		compareStates(golden, layout);
		comparePlacements(golden, parallelism, rules);
		compareCoordinates(golden, parallelism);
		if (golden.module_names_per_stage !== undefined) {
			compareStages(golden.module_names_per_stage, golden, parallelism, layers);
		}
	});

	test("is all of them", () => {
		expect(names.length).toBe(90);
		expect(compared).toEqual({
			// Fused parameters, which are no checkpoint keys, included: they prove the rule of the legacy key `wqkv`.
			rows: 72_899,
			empty: 451,
			absent: 10_024,
			placements: 16_298,
			pipelines: 12,
			ranks: 475,
		});
	});
});

function compareStates(golden: GoldenLayout, layout: Layout): void {
	const ours: string[] = [];
	const theirs: string[] = [];
	for (const [fqn, { global_shape: shape }] of Object.entries(golden.params)) {
		const held = new Map<number, (readonly [readonly number[], readonly number[]])[]>();
		for (const { box, ranks } of layout.shardsOf(fqn, shape)) {
			for (const rank of ranks) {
				held.set(rank, [...(held.get(rank) ?? []), [box.offset, box.size]]);
			}
		}
		for (const [rank, { state }] of Object.entries(golden.ranks)) {
			const chunks = state[fqn]?.chunks;
			// A rank without an element, or without the key, owns nothing.
			const full = chunks?.filter(([, size]) => !size.includes(0)) ?? [];
			ours.push(`rank ${rank} ${fqn} ${JSON.stringify(held.get(Number(rank)) ?? [])}`);
			theirs.push(`rank ${rank} ${fqn} ${JSON.stringify(full)}`);
			if (chunks === undefined) compared.absent++;
			else compared.rows++;
			if (chunks !== undefined && full.length === 0) compared.empty++;
		}
	}
	expect(ours).toEqual(theirs);
	for (const { state } of Object.values(golden.ranks)) {
		const unknown = Object.keys(state).filter((fqn) => !Object.hasOwn(golden.params, fqn));
		expect(unknown).toEqual([]);
	}
}

/** The placements decide which uneven layouts are refused. */
function comparePlacements(
	golden: GoldenLayout,
	parallelism: Parallelism,
	rules: LayoutRules,
): void {
	const dense = denseMesh(parallelism);
	const sparse = parallelism.ep > 1 ? sparseMesh(parallelism) : undefined;
	for (const [fqn, param] of Object.entries(golden.params)) {
		if (param.mesh_dims === null || param.placements === null) continue;
		const storage = torchtitanCuts(fqn, param.global_shape, { parallelism, rules, dense, sparse });
		const placements = placementsOf(storage);
		const ours = param.mesh_dims.map((dim) => {
			const name = dim === "dp_shard" || dim === "dp_shard_cp" ? "fsdp" : dim;
			const axis = storage.mesh.axes.findIndex((candidate) => candidate.name === name);
			return formatPlacement(placements[axis]!);
		});
		expect(ours, fqn).toEqual(param.placements);
		compared.placements++;
	}
}

function formatPlacement(placement: Placement): string {
	switch (placement.kind) {
		case "replicate":
			return "Replicate()";
		case "shard":
			return `Shard(dim=${placement.dim})`;
		case "strided-shard":
			return `_StridedShard(dim=${placement.dim}, sf=${placement.splitFactor})`;
	}
}

function compareCoordinates(golden: GoldenLayout, parallelism: Parallelism): void {
	const dense = denseMesh(parallelism);
	const sparse = parallelism.ep > 1 ? sparseMesh(parallelism) : undefined;
	for (const [key, { axis_rank: axisRank }] of Object.entries(golden.ranks)) {
		const rank = Number(key);
		for (const mesh of [dense, sparse]) {
			if (mesh === undefined) continue;
			const coordinates = coordinatesOf(mesh, rank);
			expect(rankAt(mesh, coordinates)).toBe(rank);
			for (const [index, axis] of mesh.axes.entries()) {
				const expected =
					axis.name === "fsdp"
						? (axisRank["fsdp"] ?? axisRank["dp_shard"]! * parallelism.cp + (axisRank["cp"] ?? 0))
						: axisRank[axis.name];
				if (axis.name === "etp") continue;
				expect(coordinates[index], `rank ${rank} ${axis.name}`).toBe(expected);
			}
		}
		compared.ranks++;
	}
}

function compareStages(
	expected: readonly (readonly string[])[],
	golden: GoldenLayout,
	parallelism: Parallelism,
	layers: number,
): void {
	const named = new Set(expected.flat());
	const { stages, stageRanks } = createPipeline(parallelism, layers);
	expect(stages.map((modules) => modules.filter((module) => named.has(module)))).toEqual(expected);
	for (const { axis_rank: axisRank, stages: ofRank } of Object.values(golden.ranks)) {
		const mine = [...stageRanks.keys()].filter((stage) => stageRanks[stage] === axisRank["pp"]);
		expect(mine).toEqual(ofRank);
	}
	compared.pipelines++;
}
