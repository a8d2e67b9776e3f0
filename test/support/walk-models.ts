import type { LocalRepo } from "../../src/demo/local-hub-files.ts";
import { type TinyModel, tinyFiles, tinyTensor } from "./quantised-models.ts";
import type { Shapes } from "./model-sources.ts";

/** Sizes of the stand-ins: the meshes of the documentation, up to `--tp 8` and `--ep 16`, divide them. */
const SIZE = {
	vocab_size: 64,
	hidden_size: 64,
	num_hidden_layers: 2,
	num_attention_heads: 8,
	num_key_value_heads: 8,
	head_dim: 8,
	intermediate_size: 64,
	max_position_embeddings: 128,
	rms_norm_eps: 1e-6,
} as const;

/** Routed experts of a Scout layer: as many as the model's name says. */
const EXPERTS = 16;

function layers(make: (layer: number) => Shapes): Shapes {
	return Object.assign(
		{},
		...Array.from({ length: SIZE.num_hidden_layers }, (_, layer) => make(layer)),
	) as Shapes;
}

function outside(prefix: string): Shapes {
	const { vocab_size: vocabulary, hidden_size: hidden } = SIZE;
	return {
		[`${prefix}model.embed_tokens.weight`]: [vocabulary, hidden],
		[`${prefix}model.norm.weight`]: [hidden],
		[`${prefix}lm_head.weight`]: [vocabulary, hidden],
	};
}

function attention(at: string): Shapes {
	const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kv } = SIZE;
	return {
		[`${at}input_layernorm.weight`]: [hidden],
		[`${at}post_attention_layernorm.weight`]: [hidden],
		[`${at}self_attn.q_proj.weight`]: [heads * SIZE.head_dim, hidden],
		[`${at}self_attn.k_proj.weight`]: [kv * SIZE.head_dim, hidden],
		[`${at}self_attn.v_proj.weight`]: [kv * SIZE.head_dim, hidden],
		[`${at}self_attn.o_proj.weight`]: [hidden, heads * SIZE.head_dim],
	};
}

function feedForward(at: string): Shapes {
	const { hidden_size: hidden, intermediate_size: inner } = SIZE;
	return {
		[`${at}gate_proj.weight`]: [inner, hidden],
		[`${at}up_proj.weight`]: [inner, hidden],
		[`${at}down_proj.weight`]: [hidden, inner],
	};
}

function bfloat16Model(config: TinyModel["config"], shapes: Shapes): TinyModel {
	const tensors = Object.entries(shapes).map(([name, shape]) =>
		tinyTensor(name, "bfloat16", shape),
	);
	return { config: { torch_dtype: "bfloat16", tie_word_embeddings: false, ...config }, tensors };
}

/** `LlamaForCausalLM`. */
function llama(): TinyModel {
	return bfloat16Model(
		{ model_type: "llama", architectures: ["LlamaForCausalLM"], ...SIZE },
		{
			...outside(""),
			...layers((n) => ({
				...attention(`model.layers.${n}.`),
				...feedForward(`model.layers.${n}.mlp.`),
			})),
		},
	);
}

/** `Qwen3ForCausalLM`. */
function qwen3(): TinyModel {
	return bfloat16Model(
		{ model_type: "qwen3", architectures: ["Qwen3ForCausalLM"], ...SIZE },
		{
			...outside(""),
			...layers((n) => ({
				...attention(`model.layers.${n}.`),
				[`model.layers.${n}.self_attn.q_norm.weight`]: [SIZE.head_dim],
				[`model.layers.${n}.self_attn.k_norm.weight`]: [SIZE.head_dim],
				...feedForward(`model.layers.${n}.mlp.`),
			})),
		},
	);
}

/** `Llama4ForConditionalGeneration` as Scout is: experts in every layer, and a vision tower that is dropped. */
function scout(): TinyModel {
	const { hidden_size: hidden, intermediate_size: inner } = SIZE;
	const text = {
		...SIZE,
		model_type: "llama4_text",
		intermediate_size_mlp: 128,
		num_local_experts: EXPERTS,
		interleave_moe_layer_step: 1,
	};
	return bfloat16Model(
		{
			model_type: "llama4",
			architectures: ["Llama4ForConditionalGeneration"],
			text_config: text,
		},
		{
			"vision_model.class_embedding": [32],
			...outside("language_model."),
			...layers((n) => {
				const at = `language_model.model.layers.${n}.`;
				return {
					...attention(at),
					[`${at}feed_forward.router.weight`]: [EXPERTS, hidden],
					[`${at}feed_forward.experts.gate_up_proj`]: [EXPERTS, hidden, 2 * inner],
					[`${at}feed_forward.experts.down_proj`]: [EXPERTS, inner, hidden],
					...feedForward(`${at}feed_forward.shared_expert.`),
				};
			}),
		},
	);
}

/**
 * Small stand-ins for every model that the documentation names: the architecture, the names and the `config.json` of the real one,
 * with every dimension smaller. `org/name` is the reader's own model: a Llama.
 */
export function standInModels(): readonly LocalRepo[] {
	const models: { readonly [id: string]: TinyModel } = {
		"Qwen/Qwen3-8B": qwen3(),
		"meta-llama/Llama-3.1-8B": llama(),
		"meta-llama/Llama-3.1-405B": llama(),
		"meta-llama/Llama-4-Scout-17B-16E": scout(),
		"org/name": llama(),
	};
	return Object.entries(models).map(([id, model]) => ({ id, files: tinyFiles(model) }));
}
