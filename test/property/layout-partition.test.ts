import * as fc from "fast-check";
import { expect, test } from "vitest";
import { boxesEqual, type Box } from "../../src/core/box.ts";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { LayoutRules, Shard } from "../../src/core/layout.ts";
import { contiguousStrides, numel, type Shape } from "../../src/core/shape.ts";
import { chunkSpan, placedChunk, type Placement } from "../../src/layout/chunk.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { cutBox, placementsOf } from "../../src/layout/cuts.ts";
import { coordinatesOf, denseMesh, sparseMesh } from "../../src/layout/mesh.ts";
import { resolveParallelism, type Parallelism } from "../../src/layout/parallelism.ts";
import { torchtitanCuts } from "../../src/layout/torchtitan-rules.ts";

const HEADS = 840;
const LAYERS = 9;

const degree = fc.integer({ min: 1, max: 4 });

/** Meshes that fit together; the experts' degrees are made from divisors. */
const parallelisms: fc.Arbitrary<Parallelism> = fc
	.record({
		dpReplicate: fc.integer({ min: 1, max: 2 }),
		dpShard: degree,
		cp: fc.integer({ min: 1, max: 2 }),
		tp: degree,
		pp: fc.constantFrom(1, 1, 2, 3),
		ep: fc.constantFrom(1, 2, 3, 4, 6),
		expertTensor: fc.boolean(),
		pipelineSchedule: fc.constantFrom("1F1B", "Interleaved1F1B", "ZBVZeroBubble"),
	})
	.map(({ expertTensor, ...degrees }) => ({ ...degrees, etp: expertTensor ? degrees.tp : 1 }))
	.filter(({ dpShard, cp, tp, ep, etp }) => ep === 1 || (dpShard * cp * tp) % (ep * etp) === 0)
	.map((degrees) => resolveParallelism(degrees));

const rules: fc.Arbitrary<LayoutRules> = fc.record({
	kind: fc.constant("torchtitan" as const),
	fusedQkv: fc.boolean(),
	expertThreshold: fc.constantFrom("fsdp", "fsdp_tp", "never"),
	expertTensorParallel: fc.constant(true),
});

const size = fc.integer({ min: 1, max: 14 });

const tensors: fc.Arbitrary<{ fqn: string; shape: Shape }> = fc.oneof(
	fc.record({
		fqn: fc.constantFrom(
			"tok_embeddings.weight",
			"lm_head.weight",
			"layers.0.attention.qkv_linear.wq.weight",
			"layers.3.attention.wo.weight",
			"layers.8.ffn_norm.weight",
			"layers.4.moe.expert_bias_E",
		),
		shape: fc.tuple(size, size),
	}),
	fc.record({
		fqn: fc.constantFrom(
			"layers.1.moe.experts.w1_EFD",
			"layers.2.moe.routed_experts.inner_experts.w2_EDF",
			"layers.7.moe.experts.w3",
		),
		shape: fc.tuple(fc.constantFrom(4, 6, 12), size, size),
	}),
);

test("shards cover a tensor exactly once, and every rank that torch says holds a chunk holds that chunk", () => {
	let refused = 0;
	let accepted = 0;
	fc.assert(
		fc.property(parallelisms, rules, tensors, (parallelism, layoutRules, { fqn, shape }) => {
			// Too many experts' ranks for the shape is a refusal of its own, tested elsewhere.
			fc.pre(!fqn.includes("experts") || shape[0]! % parallelism.ep === 0);
			const layout = createLayout({
				parallelism,
				rules: layoutRules,
				facts: {
					layers: LAYERS,
					attentionHeads: HEADS,
					keyValueHeads: HEADS,
					experts: 12,
					tiedEmbeddings: false,
				},
			});
			const truth = torchHolds(fqn, shape, parallelism, layoutRules);
			const shards = shardsOrRefusal(() => layout.shardsOf(fqn, shape));
			if (shards === undefined) {
				refused++;
				expect(truth.isLoadable).toBe(false);
				return;
			}
			accepted++;
			expect(truth.isLoadable).toBe(true);
			expectPartition(shards, shape);
			expectHolders(shards, truth.boxes, parallelism);
		}),
		{ numRuns: 1500, seed: 20_260_821 },
	);
	expect(accepted).toBeGreaterThan(500);
	expect(refused).toBeGreaterThan(50);
});

test("pieces of a dimension follow one another without a gap, and only the trailing ones are short", () => {
	fc.assert(
		fc.property(fc.nat(5000), fc.integer({ min: 1, max: 600 }), (length, parts) => {
			let end = 0;
			const sizes: number[] = [];
			for (let index = 0; index < parts; index++) {
				const span = chunkSpan(length, parts, index);
				expect(span.start).toBe(end);
				end += span.size;
				sizes.push(span.size);
			}
			expect(end).toBe(length);
			expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
			const full = sizes.filter((each) => each === Math.ceil(length / parts)).length;
			expect(sizes.filter((each) => each > 0).length - full).toBeLessThanOrEqual(1);
		}),
	);
});

test("placements of a mesh hand every element to exactly one coordinate, or to all replicas", () => {
	const placement: fc.Arbitrary<Placement> = fc.oneof(
		fc.constant({ kind: "replicate" as const }),
		fc.record({ kind: fc.constant("shard" as const), dim: fc.nat(1) }),
	);
	fc.assert(
		fc.property(
			fc.tuple(size, size),
			fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), placement), { maxLength: 3 }),
			(shape, axes) => {
				const sizes = axes.map(([axisSize]) => axisSize);
				const placements = axes.map(([, each]) => each);
				const copies = axes
					.filter(([, each]) => each.kind === "replicate")
					.reduce((product, [axisSize]) => product * axisSize, 1);
				const counts = new Uint32Array(numel(shape));
				for (let rank = 0; rank < sizes.reduce((a, b) => a * b, 1); rank++) {
					const chunk = placedChunk(shape, sizes, placements, unravel(rank, sizes));
					expect(chunk.isContiguous).toBe(true);
					countElements(counts, shape, chunk.box);
				}
				expect(new Set(counts)).toEqual(new Set([copies]));
			},
		),
	);
});

/** Every rank's block by the bytes FSDP holds, and whether DTensor's own arithmetic agrees with them everywhere. */
function torchHolds(
	fqn: string,
	shape: Shape,
	parallelism: Parallelism,
	layoutRules: LayoutRules,
): { isLoadable: boolean; boxes: readonly Box[] } {
	const dense = denseMesh(parallelism);
	const sparse = parallelism.ep > 1 ? sparseMesh(parallelism) : undefined;
	const job = { parallelism, rules: layoutRules, dense, sparse };
	const storage = torchtitanCuts(fqn, shape, job);
	const sizes = storage.mesh.axes.map((axis) => axis.size);
	const placements = placementsOf(storage);
	let isLoadable = true;
	const boxes: Box[] = [];
	for (let rank = 0; rank < parallelism.worldSize; rank++) {
		const coordinates = coordinatesOf(storage.mesh, rank);
		const held = cutBox(shape, storage, coordinates);
		const spec = placedChunk(shape, sizes, placements, coordinates);
		const isSame =
			numel(held.size) === 0
				? numel(spec.box.size) === 0
				: spec.isContiguous && boxesEqual(held, spec.box);
		const fsdp = storage.cuts.at(-1);
		const isEven =
			fsdp === undefined ||
			fsdp.dim === 0 ||
			!fsdp.axis.endsWith("fsdp") ||
			isEvenBeforeFsdp(shape, storage, coordinates);
		if (!isSame || !isEven) isLoadable = false;
		boxes.push(held);
	}
	return { isLoadable, boxes };
}

function isEvenBeforeFsdp(
	shape: Shape,
	storage: Parameters<typeof cutBox>[1],
	coordinates: readonly number[],
): boolean {
	const fsdp = storage.cuts.at(-1)!;
	const before = cutBox(
		shape,
		{ mesh: storage.mesh, cuts: storage.cuts.slice(0, -1) },
		coordinates,
	);
	const ranks = storage.mesh.axes.find((axis) => axis.name === fsdp.axis)!.size;
	return before.size[fsdp.dim]! % ranks === 0;
}

function expectHolders(
	shards: readonly Shard[],
	boxes: readonly Box[],
	parallelism: Parallelism,
): void {
	const ranksPerStage = parallelism.worldSize / parallelism.pp;
	const stages = new Set(
		shards.flatMap(({ ranks }) => ranks.map((rank) => Math.floor(rank / ranksPerStage))),
	);
	expect(stages.size).toBeLessThanOrEqual(1);
	const firsts = shards.map(({ ranks }) => ranks[0]!);
	expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
	for (const [rank, held] of boxes.entries()) {
		const mine = shards.filter((shard) => shard.ranks.includes(rank));
		const isHolder = stages.has(Math.floor(rank / ranksPerStage)) && numel(held.size) > 0;
		expect(mine.map((shard) => shard.box)).toEqual(isHolder ? [held] : []);
	}
	for (const { ranks } of shards) {
		expect(ranks).toEqual([...new Set(ranks)].toSorted((a, b) => a - b));
	}
}

function expectPartition(shards: readonly Shard[], shape: Shape): void {
	const counts = new Uint32Array(numel(shape));
	for (const { box } of shards) {
		expect(numel(box.size)).toBeGreaterThan(0);
		countElements(counts, shape, box);
	}
	expect(counts.every((count) => count === 1)).toBe(true);
}

function countElements(counts: Uint32Array, shape: Shape, box: Box): void {
	const strides = contiguousStrides(shape);
	for (let index = 0; index < numel(box.size); index++) {
		const local = unravel(index, box.size);
		const flat = local.reduce(
			(sum, coordinate, axis) => sum + (box.offset[axis]! + coordinate) * strides[axis]!,
			0,
		);
		counts[flat]! += 1;
	}
}

function unravel(index: number, sizes: readonly number[]): number[] {
	let rest = index;
	return sizes
		.toReversed()
		.map((each) => {
			const coordinate = rest % each;
			rest = Math.floor(rest / each);
			return coordinate;
		})
		.toReversed();
}

function shardsOrRefusal(make: () => readonly Shard[]): readonly Shard[] | undefined {
	try {
		return make();
	} catch (error) {
		if (isHfStreamDcpError(error, "LAYOUT_INVALID")) return undefined;
		throw error;
	}
}
