import { eachLayer, type Family, tensor } from "./family.ts";
import { interleaveRotary } from "./relayouts.ts";

/**
 * Llama 2 and 3, dense, text.
 *
 * @see torchtitan main b5bcd76c, `models/llama3/state_dict_adapter.py`; transformers 5.23 `models/llama`.
 */
export const LLAMA3: Family = {
	name: "llama3",
	summary: "Llama 2 and 3 (LlamaForCausalLM)",
	modelTypes: ["llama"],
	architectures: ["LlamaForCausalLM"],
	prefixes: [""],
	numbers: {
		layers: { keys: ["num_hidden_layers"] },
		hidden: { keys: ["hidden_size"] },
		heads: { keys: ["num_attention_heads"] },
		kv_heads: { keys: ["num_key_value_heads"], default: "heads" },
		head_dim: { keys: ["head_dim"], default: "hidden / heads" },
		inner: { keys: ["intermediate_size"] },
		vocabulary: { keys: ["vocab_size"] },
	},
	items: [
		tensor("tok_embeddings.weight", ["vocabulary", "hidden"], "model.embed_tokens.weight"),
		eachLayer(
			tensor(
				"layers.{layer}.attention.qkv_linear.wq.weight",
				["heads * head_dim", "hidden"],
				interleaveRotary("model.layers.{layer}.self_attn.q_proj.weight", "heads"),
			),
			tensor(
				"layers.{layer}.attention.qkv_linear.wk.weight",
				["kv_heads * head_dim", "hidden"],
				interleaveRotary("model.layers.{layer}.self_attn.k_proj.weight", "kv_heads"),
			),
			tensor(
				"layers.{layer}.attention.qkv_linear.wv.weight",
				["kv_heads * head_dim", "hidden"],
				"model.layers.{layer}.self_attn.v_proj.weight",
			),
			tensor(
				"layers.{layer}.attention.wo.weight",
				["hidden", "heads * head_dim"],
				"model.layers.{layer}.self_attn.o_proj.weight",
			),
			tensor(
				"layers.{layer}.feed_forward.w1.weight",
				["inner", "hidden"],
				"model.layers.{layer}.mlp.gate_proj.weight",
			),
			tensor(
				"layers.{layer}.feed_forward.w2.weight",
				["hidden", "inner"],
				"model.layers.{layer}.mlp.down_proj.weight",
			),
			tensor(
				"layers.{layer}.feed_forward.w3.weight",
				["inner", "hidden"],
				"model.layers.{layer}.mlp.up_proj.weight",
			),
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
		),
		tensor("norm.weight", ["hidden"], "model.norm.weight"),
		tensor("lm_head.weight", ["vocabulary", "hidden"], "lm_head.weight", {
			tied: "model.embed_tokens.weight",
		}),
	],
	drops: [
		{
			pattern: "*.rotary_emb.inv_freq",
			reason: "rotary frequencies are computed by the trainer, not loaded",
		},
	],
};
