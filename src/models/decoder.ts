import { eachLayer, type FamilyItem, tensor } from "./family.ts";
import type { NumberRule, NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import type { Template } from "./template.ts";

/*
 * What the decoders of Hugging Face and of torchtitan have in common, whatever the family: a family names its pieces and adds
 * its own. Order is that of torchtitan's state dict.
 */

/** Numbers of `config.json`, as Llama's configuration names and defaults them. */
export const DECODER_NUMBERS: { readonly [name: string]: NumberRule } = {
	layers: { keys: ["num_hidden_layers"] },
	hidden: { keys: ["hidden_size"] },
	heads: { keys: ["num_attention_heads"] },
	kv_heads: { keys: ["num_key_value_heads"], default: "heads" },
	head_dim: { keys: ["head_dim"], default: "hidden / heads" },
	inner: { keys: ["intermediate_size"] },
	vocabulary: { keys: ["vocab_size"] },
};

/** The embedding, every layer, the last norm, and the head, which may be tied to the embedding. */
export function decoder(...layer: readonly FamilyItem[]): readonly FamilyItem[] {
	return [
		tensor("tok_embeddings.weight", ["vocabulary", "hidden"], "model.embed_tokens.weight"),
		eachLayer(...layer),
		tensor("norm.weight", ["hidden"], "model.norm.weight"),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: "model.embed_tokens.weight",
		}),
	];
}

/** Sources of a layer's query and key projections. */
export const QUERY: Pattern = "model.layers.{layer}.self_attn.q_proj.weight";
/** See {@link QUERY}. */
export const KEY: Pattern = "model.layers.{layer}.self_attn.k_proj.weight";

/** Projections of grouped-query attention; queries and keys are reordered where a family's rotary embedding demands it. */
export function attention({
	query = QUERY,
	key = KEY,
}: { readonly query?: Template; readonly key?: Template } = {}): readonly FamilyItem[] {
	const from = "model.layers.{layer}.self_attn";
	const to = "layers.{layer}.attention";
	return [
		tensor(`${to}.qkv_linear.wq.weight`, ["heads * head_dim", "hidden"], query),
		tensor(`${to}.qkv_linear.wk.weight`, ["kv_heads * head_dim", "hidden"], key),
		tensor(
			`${to}.qkv_linear.wv.weight`,
			["kv_heads * head_dim", "hidden"],
			`${from}.v_proj.weight`,
		),
		tensor(`${to}.wo.weight`, ["hidden", "heads * head_dim"], `${from}.o_proj.weight`),
	];
}

/** A gated feed-forward network: `w1` is the gate, `w2` leads down, `w3` up. */
export function feedForward(to: Pattern, from: Pattern, inner: NumberText): readonly FamilyItem[] {
	return [
		tensor(`${to}.w1.weight`, [inner, "hidden"], `${from}.gate_proj.weight`),
		tensor(`${to}.w2.weight`, ["hidden", inner], `${from}.down_proj.weight`),
		tensor(`${to}.w3.weight`, [inner, "hidden"], `${from}.up_proj.weight`),
	];
}

/** The norms before attention and before the feed-forward network. */
export const LAYER_NORMS: readonly FamilyItem[] = [
	tensor(
		"layers.{layer}.attention_norm.weight",
		["hidden"],
		"model.layers.{layer}.input_layernorm.weight",
	),
	tensor(
		"layers.{layer}.ffn_norm.weight",
		["hidden"],
		"model.layers.{layer}.post_attention_layernorm.weight",
	),
];
