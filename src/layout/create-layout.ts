import { boxNumel } from "../core/box.ts";
import type { Layout, LayoutRules, Shard } from "../core/layout.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { Shape } from "../core/shape.ts";
import { assertModelFits } from "./assert-model-fits.ts";
import { blockCoordinates, assertStorable, cutAxes, cutBox, type StorageCuts } from "./cuts.ts";
import { denseMesh, rankAt, rankOffsets, sparseMesh } from "./mesh.ts";
import type { Parallelism } from "./parallelism.ts";
import { createPipeline } from "./pipeline.ts";
import { torchtitanCuts } from "./torchtitan-rules.ts";

/** What {@link createLayout} needs. */
export interface CreateLayoutOptions {
	readonly parallelism: Parallelism;
	readonly rules: LayoutRules;
	readonly facts: ModelFacts;
}

/**
 * The layout of a training job, from its mesh and its trainer's rules.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when the model does not fit the mesh; what depends on a tensor's shape is thrown
 * by `shardsOf`.
 */
export function createLayout(options: CreateLayoutOptions): Layout {
	const { parallelism, rules, facts } = options;
	assertModelFits(parallelism, rules, facts);
	const pipeline = createPipeline(parallelism, facts.layers);
	const cutsOf = chooseRule(parallelism, rules);
	// A model has a handful of different shapes and thousands of tensors.
	const known = new Map<string, readonly Shard[]>();
	return {
		worldSize: parallelism.worldSize,
		description: describeParallelism(parallelism),
		shardsOf(fqn, shape) {
			const ppRanks = pipeline.ranksOf(fqn);
			const storage = withoutTrivialCuts(cutsOf(fqn, shape));
			const key = JSON.stringify([storage.cuts, ppRanks, shape]);
			let shards = known.get(key);
			if (shards === undefined) {
				assertStorable(fqn, shape, storage);
				shards = Object.freeze(enumerateShards(shape, storage, ppRanks));
				known.set(key, shards);
			}
			return shards;
		},
	};
}

function chooseRule(
	parallelism: Parallelism,
	rules: LayoutRules,
): (fqn: string, shape: Shape) => StorageCuts {
	const dense = denseMesh(parallelism);
	if (rules.kind === "fsdp") {
		// FSDP2 refuses scalar parameters, so a tensor without dimensions is a buffer, which it leaves whole.
		return (_, shape) => ({
			mesh: dense,
			cuts: shape.length === 0 ? [] : [{ axis: "fsdp", dim: 0 }],
		});
	}
	const sparse = parallelism.ep > 1 ? sparseMesh(parallelism) : undefined;
	return (fqn, shape) => torchtitanCuts(fqn, shape, { parallelism, rules, dense, sparse });
}

/** Leaves out cuts into one piece. */
function withoutTrivialCuts({ mesh, cuts }: StorageCuts): StorageCuts {
	const cutting = new Set(mesh.axes.filter((axis) => axis.size > 1).map((axis) => axis.name));
	return { mesh, cuts: cuts.filter((cut) => cutting.has(cut.axis)) };
}

/** Every block once, with its ranks. In the order of the first rank, because coordinates are counted up in the mesh's order. */
function enumerateShards(
	shape: Shape,
	storage: StorageCuts,
	ppRanks: readonly number[],
): readonly Shard[] {
	const cut = new Set(cutAxes(storage));
	const [pp, ...others] = storage.mesh.axes;
	const replicas = rankOffsets(others.filter((axis) => !cut.has(axis)));
	const holders = ppRanks.flatMap((ppRank) =>
		replicas.map((offset) => ppRank * (pp?.stride ?? 0) + offset),
	);
	const shards: Shard[] = [];
	for (const coordinates of blockCoordinates(storage)) {
		const box = cutBox(shape, storage, coordinates);
		if (boxNumel(box) === 0) continue;
		const first = rankAt(storage.mesh, coordinates);
		shards.push({ box, ranks: holders.map((offset) => first + offset) });
	}
	return shards;
}

/** `pp 4 (1F1B) × fsdp 8 × tp 8, ep 16 (256 ranks)`; degrees of 1 are left out. */
function describeParallelism(parallelism: Parallelism): string {
	const { dpReplicate, dpShard, cp, tp, pp, ep, etp, schedule, worldSize } = parallelism;
	const dense = [
		...(pp > 1 ? [`pp ${pp} (${schedule})`] : []),
		...nameDegrees({ replicate: dpReplicate, fsdp: dpShard, cp, tp }),
	].join(" × ");
	const all = [...(dense === "" ? [] : [dense]), ...nameDegrees({ ep, etp })].join(", ");
	return all === "" ? "1 rank" : `${all} (${worldSize} ranks)`;
}

function nameDegrees(degrees: { readonly [name: string]: number }): string[] {
	return Object.entries(degrees)
		.filter(([, degree]) => degree > 1)
		.map(([name, degree]) => `${name} ${degree}`);
}
