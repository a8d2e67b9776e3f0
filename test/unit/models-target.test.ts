import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { listTargets, mapModel } from "../../src/models/map-model.ts";
import { RELEASES } from "../../src/models/releases.ts";
import { resolveTarget } from "../../src/models/target.ts";
import { SMALL, smallLlama3, sourceOf, traceableBytes } from "../support/model-sources.ts";
import { evaluateExpr } from "../support/naive-expr.ts";
import { tinyGptOss, tinySource } from "../support/quantised-models.ts";

const Q = "layers.3.attention.qkv_linear.wq.weight";
const HEAD = "lm_head.weight";
const W2 = "layers.11.moe.routed_experts.inner_experts.w2_EDF";
const BIAS = "layers.11.moe.expert_bias_E";

function messageOf(run: () => unknown): string {
	try {
		run();
	} catch (error) {
		if (isHfStreamDcpError(error, "OPTIONS_INVALID")) return `${error.message} ${error.hint}`;
		throw error;
	}
	throw new Error("nothing was thrown");
}

describe("keys by date", () => {
	const oldExperts = "layers.11.moe.experts.w2";
	test.each([
		["2025-09-11", "layers.3.attention.wq.weight", "output.weight", oldExperts, "expert_bias"],
		["2026-04", "layers.3.attention.wq.weight", "output.weight", oldExperts, "expert_bias"],
		["2026-04-15", "layers.3.attention.wq.weight", "output.weight", oldExperts, "expert_bias"],
		["2026-04-16", Q, "output.weight", oldExperts, "expert_bias"],
		["2026-04-27", Q, HEAD, oldExperts, "expert_bias"],
		["2026-05", Q, HEAD, oldExperts, "expert_bias"],
		["2026-05-27", Q, HEAD, "layers.11.moe.experts.w2_EDF", "expert_bias_E"],
		["2026-06", Q, HEAD, "layers.11.moe.experts.w2_EDF", "expert_bias_E"],
		["2026-07", Q, HEAD, "layers.11.moe.experts.w2_EDF", "expert_bias_E"],
		["2026-07-16", Q, HEAD, W2, "expert_bias_E"],
		["2026-08", Q, HEAD, W2, "expert_bias_E"],
		["2026-08-21", Q, HEAD, W2, "expert_bias_E"],
	])("%s", (date, query, head, w2, bias) => {
		const { spell } = resolveTarget(`torchtitan@${date}`, "qwen3");
		expect([Q, HEAD, W2, BIAS].map(spell)).toEqual([query, head, w2, `layers.11.moe.${bias}`]);
	});

	test("other keys never changed", () => {
		for (const { id } of RELEASES) {
			const { spell } = resolveTarget(`torchtitan@${id}`, "llama3");
			for (const key of ["tok_embeddings.weight", "norm.weight", "layers.0.attention.wo.weight"]) {
				expect(spell(key)).toBe(key);
			}
		}
	});

	test("no release spells two keys alike", () => {
		for (const { id } of RELEASES) {
			const { spell } = resolveTarget(`torchtitan@${id}`, "qwen3");
			const keys = ["w1_EFD", "w2_EDF", "w3_EFD", "mlp1_weight_EGD", "mlp1_bias_EG"].map((name) =>
				spell(`layers.0.moe.routed_experts.inner_experts.${name}`),
			);
			expect(new Set(keys).size).toBe(keys.length);
		}
	});
});

test("the wheel 0.2.2 of 2026-02-20 has these keys", () => {
	const spelled = (family: string, ...keys: string[]): string[] =>
		keys.map(resolveTarget("torchtitan@2026-02-20", family).spell);
	const experts = "layers.1.moe.routed_experts.inner_experts";
	expect(
		spelled(
			"gpt_oss",
			"layers.1.attention.qkv_linear.wq.bias",
			"layers.1.attention.sinks",
			`${experts}.mlp1_weight_EGD`,
			`${experts}.mlp2_bias_ED`,
			"layers.1.moe.router.gate.bias",
			"lm_head.weight",
		),
	).toEqual([
		"layers.1.attention.wq.bias",
		"layers.1.attention.sinks",
		"layers.1.moe.experts.mlp1_weight",
		"layers.1.moe.experts.mlp2_bias",
		"layers.1.moe.router.gate.bias",
		"output.weight",
	]);
	expect(
		spelled(
			"deepseek_v3",
			"layers.1.attention.wq_a.weight",
			"layers.1.attention.wq.weight",
			`${experts}.w2_EDF`,
			"layers.1.moe.expert_bias_E",
		),
	).toEqual([
		"layers.1.attention.wq_a.weight",
		"layers.1.attention.wq.weight",
		"layers.1.moe.experts.w2",
		"layers.1.moe.expert_bias",
	]);
});

describe("rules by date", () => {
	test.each([
		["2026-03-22", "never", true],
		["2026-03-23", "fsdp", true],
		["2026-04-29", "fsdp", true],
		["2026-04-30", "fsdp", false],
		["2026-08-17", "fsdp", false],
		["2026-08-18", "fsdp_tp", false],
	])("%s", (date, expertThreshold, expertTensorParallel) => {
		const { rules } = resolveTarget(`torchtitan@${date}`, "qwen3");
		expect(rules).toMatchObject({ kind: "torchtitan", expertThreshold, expertTensorParallel });
	});

	test.each([
		["torchtitan", "llama3", "torchtitan@2026-08-18", true],
		["torchtitan", "qwen3", "torchtitan@2026-08-18", true],
		["torchtitan", "llama4", "torchtitan@2026-06", false],
		["torchtitan+unfused", "llama4", "torchtitan@2026-06", false],
		["torchtitan+fused", "llama3", "torchtitan@2026-08-18", true],
		["torchtitan+unfused", "llama3", "torchtitan@2026-08-18+unfused", false],
		["torchtitan@2026-08+unfused", "qwen3", "torchtitan@2026-08+unfused", false],
		["torchtitan@2026-06-24", "llama3", "torchtitan@2026-07", true],
		["torchtitan@2026-06-23", "llama3", "torchtitan@2026-06-18", false],
		["torchtitan@2026-06-23+fused", "llama3", "torchtitan@2026-06-18+fused", true],
		["torchtitan@2026-06+fused", "llama3", "torchtitan@2026-06+fused", false],
		["torchtitan@2026-08-11+mtp", "deepseek_v3", "torchtitan@2026-08-11+mtp", false],
		["torchtitan+unfused+mtp", "deepseek_v3", "torchtitan@2026-08-18+mtp", false],
		["torchtitan", "qwen3_vl", "torchtitan@2026-06-08", false],
		["torchtitan@2026-06-09", "qwen3_vl", "torchtitan@2026-06-08", false],
		["torchtitan@2026-06-12", "qwen3_5", "torchtitan@2026-06-10", false],
		["torchtitan@2026-06-20", "qwen3_5", "torchtitan@2026-06-18", false],
		["torchtitan@2026-08", "kimi_k2", "torchtitan@2026-08", false],
		["torchtitan@2026-07-30", "kimi_k2", "torchtitan@2026-08", false],
		["torchtitan@2026-08-11", "muse_glimmer", "torchtitan@2026-08-11", false],
		["torchtitan", "muse_glimmer", "torchtitan@2026-08-18", false],
	])("%s for %s is %s", (target, family, id, fusedQkv) => {
		const resolved = resolveTarget(target, family);
		expect(resolved.id).toBe(id);
		expect(resolved.rules.fusedQkv).toBe(fusedQkv);
		expect(resolveTarget(id, family)).toEqual({
			...resolved,
			spell: expect.any(Function) as unknown,
		});
	});
});

describe("refused", () => {
	test.each([
		["titan", "llama3", "there is no target"],
		["", "llama3", "there is no target"],
		["torchtitan@", "llama3", "there is no target"],
		["torchtitan@2026", "llama3", "there is no target"],
		["torchtitan@2026-13", "llama3", "there is no target"],
		["torchtitan@2026-06+fuse", "llama3", "there is no target"],
		["hf+fused", "llama3", "there is no target"],
		["torchtitan@2025-08", "llama3", "torchtitan before 2025-09-11"],
		["torchtitan@2026-08-22", "llama3", "known until 2026-08-21"],
		["torchtitan@2026-06-08", "llama4", "has no llama4 Use --target torchtitan@2026-06"],
		["torchtitan@2026-06-10", "qwen3_vl", "has no qwen3_vl Use --target torchtitan@2026-06-08"],
		["torchtitan@2026-06-09", "qwen3_5", "no qwen3_5 before 2026-06-10"],
		["torchtitan@2026-08", "muse_glimmer", "no muse_glimmer before 2026-08-11"],
		["torchtitan+fused", "llama4", "no fused QKV for llama4"],
		["torchtitan@2026-04+fused", "llama3", "no fused QKV for llama3"],
		["torchtitan@2026-08+mtp", "deepseek_v3", "or use --target torchtitan@2026-08-11+mtp"],
		["torchtitan+mtp", "llama3", "no multi-token prediction for llama3 Leave out +mtp."],
		["torchtitan+mtp+fused", "llama3", "there is no target"],
	])("%s for %s", (target, family, message) => {
		expect(messageOf(() => resolveTarget(target, family))).toContain(message);
	});
});

test("a fused model of before 2026-06-18 stores, per key-value head, its queries, key and value", () => {
	const { config, shapes } = smallLlama3();
	const source = sourceOf(config, shapes);
	const unfused = mapModel({ source, target: "torchtitan@2026-06" });
	const fused = mapModel({ source, target: "torchtitan@2026-04-20+fused" });
	const rowsOf = (map: typeof fused, key: string): readonly Uint8Array[] => {
		const { expr } = map.recipes.find(({ fqn }) => fqn === key)!;
		const bytes = evaluateExpr(expr, (name) => traceableBytes(name, shapes[name]!));
		const rowBytes = SMALL.hidden_size * 4;
		return Array.from({ length: bytes.length / rowBytes }, (_, row) =>
			bytes.slice(row * rowBytes, (row + 1) * rowBytes),
		);
	};
	const at = "layers.2.attention.qkv_linear";
	const [wq, wk, wv] = ["wq", "wk", "wv"].map((name) => rowsOf(unfused, `${at}.${name}.weight`));
	const { head_dim: size, num_attention_heads: heads, num_key_value_heads: groups } = SMALL;
	const perGroup = heads / groups;
	const expected: Uint8Array[] = [];
	for (let group = 0; group < groups; group++) {
		expected.push(...wq!.slice(group * perGroup * size, (group + 1) * perGroup * size));
		expected.push(...wk!.slice(group * size, (group + 1) * size));
		expected.push(...wv!.slice(group * size, (group + 1) * size));
	}
	expect(rowsOf(fused, `${at}.wqkv.weight`)).toEqual(expected);

	const names = fused.recipes.map(({ fqn }) => fqn);
	expect(names.filter((name) => /\.w[qkv]\./.test(name))).toEqual([]);
	expect(names.slice(0, 3)).toEqual([
		"tok_embeddings.weight",
		"layers.0.attention.qkv_linear.wqkv.weight",
		"layers.0.attention.wo.weight",
	]);
	expect(names.at(-1)).toBe("output.weight");
});

test("biases of gpt-oss are fused as its weights are", () => {
	const model = tinyGptOss("bfloat16");
	const map = mapModel({ source: tinySource(model), target: "torchtitan@2026-06+fused" });
	const bytesOf = (name: string): Uint8Array =>
		model.tensors.find((tensor) => tensor.name === name)!.bytes;
	const { expr } = map.recipes.find(
		({ fqn }) => fqn === "layers.1.attention.qkv_linear.wqkv.bias",
	)!;
	const parts = ["q", "k", "v"].map((name) =>
		bytesOf(`model.layers.1.self_attn.${name}_proj.bias`),
	);
	// Two groups of two heads of queries, one of keys, one of values, each of 8 elements of two bytes.
	const [q, k, v] = parts as [Uint8Array, Uint8Array, Uint8Array];
	const groups = [0, 1].flatMap((group) => [
		...q.slice(32 * group, 32 * (group + 1)),
		...k.slice(16 * group, 16 * (group + 1)),
		...v.slice(16 * group, 16 * (group + 1)),
	]);
	expect([...evaluateExpr(expr, bytesOf)]).toEqual(groups);
	expect(map.recipes.filter(({ fqn }) => /\.w[qkv]\./.test(fqn))).toEqual([]);
});

test("every release resolves to itself by its id and by its first day", () => {
	for (const { id, from } of RELEASES) {
		expect(resolveTarget(`torchtitan@${id}`, "llama3").id).toBe(`torchtitan@${id}`);
		expect(resolveTarget(`torchtitan@${from}`, "llama3").id).toBe(`torchtitan@${id}`);
	}
	expect(RELEASES.map(({ from }) => from)).toEqual(RELEASES.map(({ from }) => from).toSorted());
});

test("--help lists every target, newest first", () => {
	const lines = listTargets();
	for (const { id } of RELEASES) {
		expect(lines.filter((line) => line.startsWith(`torchtitan@${id} `))).toHaveLength(1);
	}
	expect(lines[1]).toContain(RELEASES.at(-1)!.id);
	expect(lines.every((line) => !line.includes("\n"))).toBe(true);
});
