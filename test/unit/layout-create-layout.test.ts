import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { Layout, LayoutRules } from "../../src/core/layout.ts";
import type { ModelFacts } from "../../src/core/model-facts.ts";
import type { Shape } from "../../src/core/shape.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { resolveParallelism, type ParallelismInput } from "../../src/layout/parallelism.ts";
import { keyRule } from "../../src/layout/torchtitan-keys.ts";

const torchtitan: LayoutRules = {
	kind: "torchtitan",
	fusedQkv: false,
	expertThreshold: "fsdp",
	expertTensorParallel: false,
};

/** Llama-4-Scout. */
const scout: ModelFacts = {
	layers: 48,
	attentionHeads: 40,
	keyValueHeads: 8,
	experts: 16,
	tiedEmbeddings: false,
};

function layoutOf(
	input: ParallelismInput,
	rules: Partial<LayoutRules> = {},
	facts: Partial<ModelFacts> = {},
): Layout {
	return createLayout({
		parallelism: resolveParallelism(input),
		rules: { ...torchtitan, ...rules },
		facts: { ...scout, ...facts },
	});
}

/** `[0:4, 0:8] 0 1` per shard. */
function show(layout: Layout, fqn: string, shape: Shape): readonly string[] {
	return layout.shardsOf(fqn, shape).map(({ box, ranks }) => {
		const spans = box.offset.map((start, dim) => `${start}:${start + box.size[dim]!}`);
		return `[${spans.join(", ")}] ${ranks.join(" ")}`;
	});
}

function isRefused(layout: Layout, fqn: string, shape: Shape): boolean {
	try {
		layout.shardsOf(fqn, shape);
		return false;
	} catch (error) {
		if (isHfStreamDcpError(error, "LAYOUT_INVALID")) return true;
		throw error;
	}
}

describe("torchtitan", () => {
	test("tensor parallelism cuts first, FSDP cuts what is left", () => {
		const layout = layoutOf({ dpShard: 2, tp: 2 });
		expect(show(layout, "layers.0.feed_forward.w1.weight", [8, 2])).toEqual([
			"[0:2, 0:2] 0",
			"[4:6, 0:2] 1",
			"[2:4, 0:2] 2",
			"[6:8, 0:2] 3",
		]);
		expect(show(layout, "layers.0.attention.wo.weight", [8, 2])).toEqual([
			"[0:4, 0:1] 0",
			"[0:4, 1:2] 1",
			"[4:8, 0:1] 2",
			"[4:8, 1:2] 3",
		]);
		expect(show(layout, "norm.weight", [3])).toEqual(["[0:2] 0 1", "[2:3] 2 3"]);
	});

	test("ranks without an element own nothing", () => {
		expect(show(layoutOf({ dpShard: 4 }), "norm.weight", [3])).toEqual([
			"[0:1] 0",
			"[1:2] 1",
			"[2:3] 2",
		]);
	});

	test("replicas and pipeline stages", () => {
		const layout = layoutOf({ pp: 2, dpReplicate: 2, dpShard: 2 });
		expect(show(layout, "tok_embeddings.weight", [4, 1])).toEqual([
			"[0:2, 0:1] 0 2",
			"[2:4, 0:1] 1 3",
		]);
		expect(show(layout, "lm_head.weight", [4, 1])).toEqual(["[0:2, 0:1] 4 6", "[2:4, 0:1] 5 7"]);
		expect(show(layout, "freqs_cis", [4])).toEqual(["[0:4] 0 1 2 3 4 5 6 7"]);
	});

	test("a fused model's wq, wk, wv are whole on every rank, its legacy wqkv is cut", () => {
		const layout = layoutOf({ dpShard: 2, tp: 2 }, { fusedQkv: true });
		expect(show(layout, "layers.0.attention.qkv_linear.wk.weight", [4, 1])).toEqual([
			"[0:4, 0:1] 0 1 2 3",
		]);
		expect(show(layout, "layers.0.attention.qkv_linear.wqkv.weight", [4, 1])).toHaveLength(4);
	});

	test("buffers are whole", () => {
		const layout = layoutOf({ dpShard: 4 });
		for (const name of ["expert_bias", "expert_bias_E"]) {
			expect(show(layout, `layers.0.moe.${name}`, [16])).toEqual(["[0:16] 0 1 2 3"]);
		}
	});

	test("expert tensor parallelism cuts inside the experts of an EP rank", () => {
		const layout = layoutOf({ dpShard: 4, tp: 2, ep: 2, etp: 2 }, { expertTensorParallel: true });
		// [efsdp 2, ep 2, etp 2]; 2 × 2 ranks are not more than 4 experts, so FSDP cuts whole experts.
		expect(show(layout, "layers.0.moe.experts.w1", [4, 2, 3])).toEqual([
			"[0:1, 0:1, 0:3] 0",
			"[0:1, 1:2, 0:3] 1",
			"[2:3, 0:1, 0:3] 2",
			"[2:3, 1:2, 0:3] 3",
			"[1:2, 0:1, 0:3] 4",
			"[1:2, 1:2, 0:3] 5",
			"[3:4, 0:1, 0:3] 6",
			"[3:4, 1:2, 0:3] 7",
		]);
		expect(show(layout, "layers.0.moe.experts.w2", [4, 3, 2])[1]).toBe("[0:1, 0:3, 1:2] 1");
		expect(show(layout, "layers.0.moe.experts.mlp2_bias", [4, 3])[0]).toBe("[0:1, 0:3] 0 1");
	});

	test.each([
		// 2 FSDP ranks are not more than 4 experts, but 2 × 4 with tp are.
		["fsdp", { dpShard: 2, tp: 4 }, "[0:2, 0:2, 0:8] 0"],
		["fsdp_tp", { dpShard: 2, tp: 4 }, "[0:4, 0:1, 0:8] 0"],
		["fsdp", { dpShard: 8 }, "[0:4, 0:1, 0:8] 0"],
		["never", { dpShard: 8 }, "[0:1, 0:8, 0:8] 0"],
		// Replicas count, too.
		["fsdp", { dpReplicate: 4, dpShard: 2 }, "[0:4, 0:4, 0:8] 0 2 4 6"],
	] as const)(
		"without EP, FSDP cuts experts inside by threshold %s, %j",
		(threshold, input, first) => {
			const layout = layoutOf(input, { expertThreshold: threshold });
			expect(show(layout, "layers.0.moe.experts.w1", [4, 8, 8])[0]).toBe(first);
		},
	);

	test("every spelling of a key has the same rule", () => {
		for (const [old, current] of [
			["output.weight", "lm_head.weight"],
			["layers.7.attention.wq.weight", "layers.7.attention.wv.weight"],
			["layers.7.moe.experts.w1", "layers.7.moe.routed_experts.inner_experts.w1_EFD"],
			["layers.7.moe.experts.w2_EDF", "layers.7.moe.routed_experts.inner_experts.w2_EDF"],
			["layers.7.moe.experts.mlp1_bias", "layers.7.moe.experts.mlp1_bias_EG"],
			["layers.7.moe.expert_bias", "layers.7.moe.expert_bias_E"],
		] as const) {
			expect(keyRule(old), old).toBeDefined();
			expect(keyRule(old)).toEqual(keyRule(current));
		}
	});

	test.each([
		["layers.0.attention.wq_a.weight", "uncut"],
		["layers.0.attention.wq_b.weight", "column"],
		["mtp_layers.0.enorm.weight", "uncut"],
		["mtp_layers.0.eh_proj.weight", "uncut"],
		["vision_encoder.layers.3.attn.qkv.bias", "column"],
		["vision_encoder.layers.3.attn.proj.bias", "uncut"],
		["vision_encoder.deepstack_merger_list.1.linear_fc1.bias", "column"],
		["vision_encoder.deepstack_merger_list.1.linear_fc2.weight", "row"],
		["vision_encoder.deepstack_merger_list.1.norm.bias", "uncut"],
		["vision_encoder.patch_embed.proj.weight", "uncut"],
	])("keys that the golden layouts lack: %s is %s", (fqn, kind) => {
		expect(keyRule(fqn)?.kind).toBe(kind);
	});

	test.each([
		"model.layers.0.self_attn.q_proj.weight",
		"layers.0.moe.shared_expert.w1",
		"layers.0.xattention.wq.weight",
		"layers.0.attention.wq.weight.scale",
		"tok_embeddings",
	])("has no rule for %s", (fqn) => {
		expect(keyRule(fqn)).toBeUndefined();
		expect(() => layoutOf({ dpShard: 2 }).shardsOf(fqn, [4])).toThrow(/no layout rule is known/);
	});
});

describe("Hugging Face modules under FSDP2", () => {
	const hf = { kind: "fsdp" } as const;

	test("dimension 0 of everything, over dp_shard × cp", () => {
		const layout = layoutOf({ dpReplicate: 2, dpShard: 2, cp: 2 }, hf);
		expect(show(layout, "model.layers.0.mlp.experts.gate_up_proj", [5, 2, 2])).toEqual([
			"[0:2, 0:2, 0:2] 0 4",
			"[2:4, 0:2, 0:2] 1 5",
			"[4:5, 0:2, 0:2] 2 6",
		]);
		expect(show(layout, "model.norm.weight", [4])).toHaveLength(4);
	});

	test("a tensor without dimensions is whole", () => {
		expect(layoutOf({ dpShard: 2 }, hf).shardsOf("model.scale", [])).toEqual([
			{ box: { offset: [], size: [] }, ranks: [0, 1] },
		]);
	});

	test.each<ParallelismInput>([{ tp: 2 }, { pp: 2 }, { dpShard: 2, ep: 2 }, { tp: 2, etp: 2 }])(
		"refuses %j",
		(input) => {
			expect(() => layoutOf(input, hf)).toThrow(
				expect.objectContaining({
					code: "LAYOUT_INVALID",
					hint: expect.stringContaining("choose a torchtitan target"),
				}),
			);
		},
	);
});

describe("refuses what the trainer or torch refuses", () => {
	test.each<[ParallelismInput, Partial<ModelFacts>, RegExp]>([
		[{ tp: 16 }, {}, /tp 16 does not divide the 40 attention heads/],
		[{ tp: 5 }, {}, /tp 5 does not divide the 8 key-value heads/],
		[{ pp: 2 }, { tiedEmbeddings: true }, /embedding and head are one parameter/],
		[{ dpShard: 2, ep: 2 }, { experts: 0 }, /the model has no experts/],
		[{ dpShard: 3, ep: 3 }, {}, /ep 3 does not divide the model's 16 experts/],
		[{ dpShard: 4, tp: 2, ep: 2, etp: 2 }, {}, /removed it on 2026-04-30/],
		[{ pp: 64 }, {}, /too few for 64 pipeline stages/],
	])("%j of %j", (input, facts, message) => {
		const make = (): unknown => layoutOf(input, {}, facts);
		expect(make).toThrow(expect.objectContaining({ code: "LAYOUT_INVALID" }));
		expect(make).toThrow(message);
	});

	test.each([{ pp: 2 }, { dpShard: 2, cp: 2 }])("%j with multi-token prediction", (input) => {
		expect(() => layoutOf(input, { predictsTokens: true })).toThrow(/neither pp nor cp/);
		expect(() => layoutOf({ dpShard: 2, tp: 2 }, { predictsTokens: true })).not.toThrow();
	});

	test("experts that FSDP would have to cut unevenly along dimension 1", () => {
		const layout = layoutOf({ dpShard: 6 });
		expect(() => layout.shardsOf("layers.0.moe.experts.w1", [4, 8, 2])).toThrow(
			/FSDP over 6 ranks must cut dimension 1, of which a rank has 8/,
		);
		expect(layout.shardsOf("layers.0.moe.experts.w1", [4, 12, 2])).toHaveLength(6);
	});

	test("experts that EP does not divide, whatever the config says", () => {
		expect(() =>
			layoutOf({ dpShard: 4, ep: 4 }).shardsOf("layers.0.moe.experts.w1", [6, 8, 2]),
		).toThrow(/ep 4 does not divide the 6 experts of layers\.0\.moe\.experts\.w1/);
	});

	test("tensors with fewer dimensions than the rule cuts", () => {
		expect(() => layoutOf({ tp: 2 }).shardsOf("layers.0.attention.wo.weight", [8])).toThrow(
			/shape \[8\], but tp cuts dimension 1/,
		);
	});

	test("tensor parallelism of a model that has none", () => {
		expect(() => layoutOf({ tp: 2 }).shardsOf("img_in.weight", [8, 8])).toThrow(
			/no tensor parallelism for img_in\.weight/,
		);
		expect(layoutOf({ dpShard: 2 }).shardsOf("img_in.weight", [8, 8])).toHaveLength(2);
	});

	// The figures were counted with torch 2.13's own arithmetic over dp, tp in 2..8 and lengths up to 256.
	test("uneven tensor parallelism under FSDP on the same dimension, exactly where torch goes wrong", () => {
		let refused = 0;
		let evenRefused = 0;
		const smallest = new Map<string, number>();
		for (let dp = 2; dp <= 8; dp++) {
			for (let tp = 2; tp <= 8; tp++) {
				const layout = layoutOf(
					{ dpShard: dp, tp },
					{},
					{ attentionHeads: 840, keyValueHeads: 840 },
				);
				for (let length = 1; length <= 256; length++) {
					if (!isRefused(layout, "layers.0.attention.sinks", [length])) continue;
					refused++;
					if (length % tp === 0) evenRefused++;
					const key = `${dp},${tp}`;
					smallest.set(key, Math.min(smallest.get(key) ?? length, length));
				}
			}
		}
		expect({ refused, evenRefused }).toEqual({ refused: 1749, evenRefused: 0 });
		expect(["2,8", "3,2", "4,2", "8,2", "8,8"].map((key) => smallest.get(key))).toEqual([
			undefined,
			7,
			9,
			17,
			69,
		]);
	});
});

test("the description names every degree above 1", () => {
	expect(layoutOf({}).description).toBe("1 rank");
	expect(layoutOf({ dpShard: 64, tp: 8, ep: 16 }).description).toBe(
		"fsdp 64 × tp 8, ep 16 (512 ranks)",
	);
	expect(layoutOf({ pp: 2, dpReplicate: 2, dpShard: 4, cp: 2 }).description).toBe(
		"pp 2 (1F1B) × replicate 2 × fsdp 4 × cp 2 (32 ranks)",
	);
});

test("tensors of one shape and rule share their shards", () => {
	const layout = layoutOf({ dpShard: 64, tp: 8, ep: 16 });
	const shape = [8192, 5120];
	const first = layout.shardsOf("layers.0.feed_forward.w1.weight", shape);
	expect(layout.shardsOf("layers.1.feed_forward.w3.weight", [...shape])).toBe(first);
	expect(first).toHaveLength(512);
});
