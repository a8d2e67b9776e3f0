import { type DropRule, eachLayer, type FamilyItem, tensor } from "./family.ts";
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

/** The same of models whose heads do not follow from other numbers: `config.json` must say what they are. */
export const HEADED_DECODER_NUMBERS: { readonly [name: string]: NumberRule } = {
	...DECODER_NUMBERS,
	kv_heads: { keys: ["num_key_value_heads"] },
	head_dim: { keys: ["head_dim"] },
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

/** A buffer that older exports hold. */
export const ROTARY_FREQUENCIES: DropRule = {
	pattern: "*.rotary_emb.inv_freq",
	reason: "rotary frequencies are computed by the trainer, not loaded",
};

/** What names of a layer begin with in most exports. */
export const LAYER: Pattern = "model.layers.{layer}";

/** Projections of grouped-query attention. */
export function attention({
	from = LAYER,
	reorder = (of) => of,
}: {
	/** What the source names of a layer begin with. */
	readonly from?: Pattern;
	/** What is done to the rows of queries and keys where the rotary embeddings differ. */
	readonly reorder?: (of: Template, heads: NumberText) => Template;
} = {}): readonly FamilyItem[] {
	const to = "layers.{layer}.attention";
	const names = `${from}.self_attn`;
	return [
		tensor(
			`${to}.qkv_linear.wq.weight`,
			["heads * head_dim", "hidden"],
			reorder(`${names}.q_proj.weight`, "heads"),
		),
		tensor(
			`${to}.qkv_linear.wk.weight`,
			["kv_heads * head_dim", "hidden"],
			reorder(`${names}.k_proj.weight`, "kv_heads"),
		),
		tensor(
			`${to}.qkv_linear.wv.weight`,
			["kv_heads * head_dim", "hidden"],
			`${names}.v_proj.weight`,
		),
		tensor(`${to}.wo.weight`, ["hidden", "heads * head_dim"], `${names}.o_proj.weight`),
	];
}

/** Norms of every head's queries and keys. */
export function headNorms(from: Pattern = LAYER): readonly FamilyItem[] {
	return ["q_norm", "k_norm"].map((name) =>
		tensor(
			`layers.{layer}.attention.${name}.weight`,
			["head_dim"],
			`${from}.self_attn.${name}.weight`,
		),
	);
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
export function layerNorms(from: Pattern = LAYER): readonly FamilyItem[] {
	return [
		tensor("layers.{layer}.attention_norm.weight", ["hidden"], `${from}.input_layernorm.weight`),
		tensor("layers.{layer}.ffn_norm.weight", ["hidden"], `${from}.post_attention_layernorm.weight`),
	];
}
