import { describe, expect, test } from "vitest";
import type { LayoutRules } from "../../src/core/layout.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { wholeQkvOf } from "../../src/layout/fused-qkv.ts";
import { type ParallelismInput, resolveParallelism } from "../../src/layout/parallelism.ts";

const LAYERS = 3;

const tensors = ["layers.0", "layers.1", "layers.2"].flatMap((layer) => [
	{ fqn: `${layer}.attention.qkv_linear.wq.weight`, dtype: "bfloat16", shape: [64, 32] } as const,
	{ fqn: `${layer}.attention.qkv_linear.wk.weight`, dtype: "float32", shape: [32, 32] } as const,
	{ fqn: `${layer}.attention.wo.weight`, dtype: "float32", shape: [32, 64] } as const,
]);

/** One layer's `wq` and `wk`. */
const LAYER_BYTES = 64 * 32 * 2 + 32 * 32 * 4;

function wholeQkv(input: ParallelismInput, fusedQkv = true): number {
	const rules: LayoutRules = {
		kind: "torchtitan",
		fusedQkv,
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	};
	const parallelism = resolveParallelism(input);
	const facts = {
		layers: LAYERS,
		attentionHeads: 4,
		keyValueHeads: 4,
		experts: 0,
		tiedEmbeddings: false,
	};
	const layout = createLayout({ parallelism, rules, facts });
	return wholeQkvOf({ tensors, layout, parallelism, rules });
}

describe("bytes that fused QKV makes every rank read whole", () => {
	test.each([{ dpShard: 8 }, { tp: 4 }, { cp: 2 }, { dpReplicate: 2, dpShard: 2, tp: 2 }])(
		"%j: all of wq, wk, wv, once per rank",
		(input) => {
			expect(wholeQkv(input)).toBe(LAYERS * LAYER_BYTES);
		},
	);

	test("with pipeline stages, those of the fullest", () => {
		expect(wholeQkv({ pp: 2, dpShard: 2 })).toBe(2 * LAYER_BYTES);
	});

	test("none where nothing would be cut", () => {
		expect(wholeQkv({})).toBe(0);
		expect(wholeQkv({ dpReplicate: 8 })).toBe(0);
		expect(wholeQkv({ dpShard: 8 }, false)).toBe(0);
	});
});
