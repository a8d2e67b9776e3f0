import type { LintStep, LintTensor } from "./oracle.ts";

/** How the tensors of a state dict are placed. */
export type Placing = (
	fqn: string,
	shape: readonly number[],
) => Omit<LintTensor, "shape" | "dtype">;

/** A state dict. */
export type Tensors = LintStep["tensors"];

/** Sizes that matter: less than a buffer, several in one buffer, just above it, and far above; uneven, and without dimensions. */
const SHAPES: { readonly [fqn: string]: readonly number[] } = {
	"tok_embeddings.weight": [1024, 128],
	"layers.0.attention.wq.weight": [256, 256],
	"layers.0.attention.wo.weight": [256, 256],
	"layers.0.attention_norm.weight": [256],
	"layers.0.feed_forward.w1.weight": [700, 256],
	"layers.0.feed_forward.w2.weight": [256, 704],
	"layers.0.ffn_norm.weight": [256],
	"layers.0.moe.experts.w1": [16, 48, 64],
	"layers.0.moe.expert_bias": [16],
	"norm.weight": [257],
	"output.weight": [1000, 128],
	scale: [],
	tiny: [3],
	"z.last": [5, 3],
};

const FLOATS: ReadonlySet<string> = new Set(["layers.0.moe.expert_bias", "scale"]);

/** The state dict, placed. */
export function stateDict(place: Placing): Tensors {
	return Object.fromEntries(
		Object.entries(SHAPES).map(([fqn, shape]) => {
			const dtype = FLOATS.has(fqn) ? "float32" : "bfloat16";
			return [fqn, { shape, dtype, ...(shape.length === 0 ? {} : place(fqn, shape)) }];
		}),
	);
}

/** Along `dim`, or the last of fewer dimensions, over all ranks. */
export function sharded(ranks: number, dim = 0): Placing {
	return (_, shape) => ({
		mesh: [ranks],
		placements: [`Shard(dim=${Math.min(dim, shape.length - 1)})`],
	});
}

/** FSDP in each of `replicas` groups. */
export function hybrid(replicas: number, ranks: number): Placing {
	return () => ({ mesh: [replicas, ranks], placements: ["Replicate()", "Shard(dim=0)"] });
}

/** As torchtitan: tensor parallelism first, then FSDP; experts over `ep` ranks, then FSDP. */
export function parallel(fsdp: number, tp: number, ep = 1): Placing {
	return (fqn) => {
		const mesh = [fsdp, tp];
		if (fqn.includes("experts") && ep > 1) {
			const placements = [`_StridedShard(dim=0, sf=${ep})`, "Shard(dim=0)"];
			return { mesh: [(fsdp * tp) / ep, ep], placements };
		}
		if (fqn.includes("expert_bias")) return {};
		if (/norm|tiny|last/.test(fqn)) return { mesh, placements: ["Shard(dim=0)", "Replicate()"] };
		if (/wo|w2/.test(fqn)) return { mesh, placements: ["Shard(dim=0)", "Shard(dim=1)"] };
		return { mesh, placements: [`_StridedShard(dim=0, sf=${tp})`, "Shard(dim=0)"] };
	};
}

/** All of it on every rank. */
export const whole: Placing = () => ({});

/** The layout file of a state dict: what `dump_layout.py` would say of it. */
export function layoutFileOf(worldSize: number, tensors: Tensors): object {
	const meshes: { [name: string]: object } = { whole: { shape: [worldSize] } };
	const rules = Object.entries(tensors).map(([fqn, { shape, dtype, mesh, placements }]) => {
		const name = mesh === undefined ? "whole" : mesh.join("x");
		if (mesh !== undefined) meshes[name] = { shape: mesh };
		return { fqn, shape, dtype, mesh: name, placements: placements ?? ["Replicate()"] };
	});
	return { version: 1, worldSize, meshes, tensors: rules };
}
