import type { Shapes } from "./model-sources.ts";

/** Numbers of a `config.json`, or of one of its parts. */
export type Config = { readonly [key: string]: number };

/** How an export writes routed experts. */
export type ExpertForm = "fused" | "transposed" | "separate";

function each(count: number, make: (index: number) => Shapes): Shapes {
	return Object.assign({}, ...Array.from({ length: count }, (_, i) => make(i))) as Shapes;
}

function prefixed(prefix: string, shapes: Shapes): Shapes {
	return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));
}

function linear(name: string, rows: number, columns: number): Shapes {
	return { [`${name}.weight`]: [rows, columns], [`${name}.bias`]: [rows] };
}

function norm(name: string, size: number): Shapes {
	return { [`${name}.weight`]: [size], [`${name}.bias`]: [size] };
}

function mlp(name: string, inner: number, hidden: number): Shapes {
	return {
		[`${name}.gate_proj.weight`]: [inner, hidden],
		[`${name}.up_proj.weight`]: [inner, hidden],
		[`${name}.down_proj.weight`]: [hidden, inner],
	};
}

function experts(text: Config, form: ExpertForm): Shapes {
	const {
		num_experts: count = 0,
		moe_intermediate_size: inner = 0,
		hidden_size: hidden = 0,
	} = text;
	if (form === "separate") return each(count, (e) => mlp(`mlp.experts.${e}`, inner, hidden));
	const [wide, narrow]: readonly [number[], number[]] =
		form === "fused"
			? [
					[2 * inner, hidden],
					[hidden, inner],
				]
			: [
					[hidden, 2 * inner],
					[inner, hidden],
				];
	return {
		"mlp.experts.gate_up_proj": [count, ...wide],
		"mlp.experts.down_proj": [count, ...narrow],
	};
}

/** Embedding, last norm and, unless it is tied, the head around the layers of a text model below `model.language_model`. */
function textModel(text: Config, isTied: boolean, layer: (index: number) => Shapes): Shapes {
	const {
		vocab_size: vocabulary = 0,
		hidden_size: hidden = 0,
		num_hidden_layers: layers = 0,
	} = text;
	return {
		...(isTied ? {} : { "lm_head.weight": [vocabulary, hidden] }),
		"model.language_model.embed_tokens.weight": [vocabulary, hidden],
		"model.language_model.norm.weight": [hidden],
		...each(layers, (n) => prefixed(`model.language_model.layers.${n}.`, layer(n))),
	};
}

function feedForward(text: Config, form: ExpertForm): Shapes {
	const { hidden_size: hidden = 0, intermediate_size: inner = 0, num_experts: count = 0 } = text;
	if (count === 0) return mlp("mlp", inner, hidden);
	return { "mlp.gate.weight": [count, hidden], ...experts(text, form) };
}

function selfAttention(text: Config, queryRows: number): Shapes {
	const { hidden_size: hidden = 0, num_key_value_heads: kv = 0, head_dim: size = 0 } = text;
	const { num_attention_heads: heads = 0 } = text;
	return {
		"self_attn.q_proj.weight": [queryRows, hidden],
		"self_attn.k_proj.weight": [kv * size, hidden],
		"self_attn.v_proj.weight": [kv * size, hidden],
		"self_attn.o_proj.weight": [hidden, heads * size],
	};
}

function layerNorms(hidden: number): Shapes {
	return { "input_layernorm.weight": [hidden], "post_attention_layernorm.weight": [hidden] };
}

function headNorms(size: number): Shapes {
	return { "self_attn.q_norm.weight": [size], "self_attn.k_norm.weight": [size] };
}

function deltaNet(text: Config): Shapes {
	const { hidden_size: hidden = 0, linear_conv_kernel_dim: kernel = 0 } = text;
	const { linear_num_key_heads: keyHeads = 0, linear_key_head_dim: keySize = 0 } = text;
	const { linear_num_value_heads: valueHeads = 0, linear_value_head_dim: valueSize = 0 } = text;
	const [keys, values] = [keyHeads * keySize, valueHeads * valueSize];
	return prefixed("linear_attn.", {
		A_log: [valueHeads],
		dt_bias: [valueHeads],
		"conv1d.weight": [2 * keys + values, 1, kernel],
		"in_proj_qkv.weight": [2 * keys + values, hidden],
		"in_proj_z.weight": [values, hidden],
		"in_proj_a.weight": [valueHeads, hidden],
		"in_proj_b.weight": [valueHeads, hidden],
		"norm.weight": [valueSize],
		"out_proj.weight": [hidden, values],
	});
}

function qwenVision(vision: Config, deepLayers: number): Shapes {
	const { depth = 0, hidden_size: hidden = 0, intermediate_size: inner = 0 } = vision;
	const {
		patch_size: patch = 0,
		temporal_patch_size: frames = 0,
		in_channels: channels = 3,
	} = vision;
	const { spatial_merge_size: merge = 0, out_hidden_size: out = 0 } = vision;
	const merged = merge * merge * hidden;
	const merger = (name: string, normSize: number): Shapes => ({
		...norm(`${name}.norm`, normSize),
		...linear(`${name}.linear_fc1`, merged, merged),
		...linear(`${name}.linear_fc2`, out, merged),
	});
	return prefixed("model.visual.", {
		"pos_embed.weight": [vision["num_position_embeddings"] ?? 0, hidden],
		"patch_embed.proj.weight": [hidden, channels, frames, patch, patch],
		"patch_embed.proj.bias": [hidden],
		...each(depth, (n) =>
			prefixed(`blocks.${n}.`, {
				...norm("norm1", hidden),
				...norm("norm2", hidden),
				...linear("attn.qkv", 3 * hidden, hidden),
				...linear("attn.proj", hidden, hidden),
				...linear("mlp.linear_fc1", inner, hidden),
				...linear("mlp.linear_fc2", hidden, inner),
			}),
		),
		...merger("merger", hidden),
		...each(deepLayers, (n) => merger(`deepstack_merger_list.${n}`, merged)),
	});
}

/** `Qwen3_5ForConditionalGeneration` and `Qwen3_5MoeForConditionalGeneration`; every fourth layer has softmax attention. */
export function qwen35Export(
	text: Config,
	vision: Config,
	{ form = "fused", isTied = false }: { form?: ExpertForm; isTied?: boolean } = {},
): Shapes {
	const { hidden_size: hidden = 0, num_attention_heads: heads = 0, head_dim: size = 0 } = text;
	const { num_experts: count = 0, shared_expert_intermediate_size: shared = 0 } = text;
	const layer = (n: number): Shapes => ({
		...layerNorms(hidden),
		...(n % 4 === 3
			? { ...selfAttention(text, 2 * heads * size), ...headNorms(size) }
			: deltaNet(text)),
		...feedForward(text, form),
		...(count === 0
			? {}
			: {
					...mlp("mlp.shared_expert", shared, hidden),
					"mlp.shared_expert_gate.weight": [1, hidden],
				}),
	});
	return { ...textModel(text, isTied, layer), ...qwenVision(vision, 0) };
}

/** `Qwen3VLForConditionalGeneration` and `Qwen3VLMoeForConditionalGeneration`. */
export function qwen3VlExport(
	text: Config,
	vision: Config,
	deepLayers: number,
	{ form = "transposed", isTied = false }: { form?: ExpertForm; isTied?: boolean } = {},
): Shapes {
	const { hidden_size: hidden = 0, num_attention_heads: heads = 0, head_dim: size = 0 } = text;
	const layer = (): Shapes => ({
		...layerNorms(hidden),
		...selfAttention(text, heads * size),
		...headNorms(size),
		...feedForward(text, form),
	});
	return { ...textModel(text, isTied, layer), ...qwenVision(vision, deepLayers) };
}

/** `MuseGlimmerForConditionalGeneration`; without `vision` what torchtitan exports of its text model. */
export function museExport(top: Config, text: Config, vision: Config | undefined): Shapes {
	const { hidden_size: hidden = 0, num_attention_heads: heads = 0, head_dim: size = 0 } = text;
	const layer = (): Shapes => ({
		...layerNorms(hidden),
		"pre_feedforward_layernorm.weight": [hidden],
		"post_feedforward_layernorm.weight": [hidden],
		...selfAttention(text, heads * size),
		"self_attn.gate_proj.weight": [heads * size, hidden],
		...mlp("mlp", text["intermediate_size"] ?? 0, hidden),
	});
	return {
		...textModel(text, false, layer),
		...(vision === undefined ? {} : museVision(top, hidden, vision)),
	};
}

function museVision(top: Config, textHidden: number, vision: Config): Shapes {
	const {
		hidden_size: hidden = 0,
		intermediate_size: inner = 0,
		num_hidden_layers: layers = 0,
	} = vision;
	const { patch_size: patch = 0, patch_temporal: frames = 0 } = vision;
	const { pos_emb_height: height = 0, pos_emb_width: width = 0 } = vision;
	const { projector_hidden_size: projector = 0, out_hidden_size: out = 0 } = top;
	return prefixed("model.", {
		"vision_projection.weight": [textHidden, projector],
		"vision_adapter.fc1.weight": [projector, out],
		"vision_adapter.fc2.weight": [projector, projector],
		...prefixed("vision_tower.", {
			"patch_embedder.position_embedding_table.weight": [height * width, hidden],
			"patch_embedder.patch_embedding.weight": [hidden, 3 * frames * patch * patch],
			...norm("ln_pre", hidden),
			...norm("ln_post", hidden),
			...each(layers, (n) =>
				prefixed(`layers.${n}.`, {
					...norm("norm1", hidden),
					...norm("norm2", hidden),
					...linear("attn.q_proj", hidden, hidden),
					...linear("attn.k_proj", hidden, hidden),
					...linear("attn.v_proj", hidden, hidden),
					...linear("attn.proj", hidden, hidden),
					...linear("mlp.fc1", inner, hidden),
					...linear("mlp.fc2", hidden, inner),
				}),
			),
		}),
	});
}

/** `FluxTransformer2DModel` of diffusers; with `guidance` as in FLUX.1-dev. */
export function fluxExport(config: Config, guidance: boolean): Shapes {
	const { num_attention_heads: heads = 0, attention_head_dim: size = 0 } = config;
	const hidden = heads * size;
	const square = (name: string): Shapes => linear(name, hidden, hidden);
	const headNorm = (name: string): Shapes => ({ [`${name}.weight`]: [size] });
	const embedder = (name: string, width: number): Shapes =>
		prefixed(`time_text_embed.${name}.`, {
			...linear("linear_1", hidden, width),
			...linear("linear_2", hidden, hidden),
		});
	const stream = (
		norms: string,
		names: readonly string[],
		heads_: readonly string[],
		ff: string,
	) => ({
		...linear(`${norms}.linear`, 6 * hidden, hidden),
		...Object.assign({}, ...names.map((name) => square(`attn.${name}`))),
		...Object.assign({}, ...heads_.map((name) => headNorm(`attn.${name}`))),
		...linear(`${ff}.net.0.proj`, 4 * hidden, hidden),
		...linear(`${ff}.net.2`, hidden, 4 * hidden),
	});
	return {
		...linear("x_embedder", hidden, config["in_channels"] ?? 0),
		...linear("context_embedder", hidden, config["joint_attention_dim"] ?? 0),
		...embedder("timestep_embedder", 256),
		...embedder("text_embedder", config["pooled_projection_dim"] ?? 0),
		...(guidance ? embedder("guidance_embedder", 256) : {}),
		...each(config["num_layers"] ?? 0, (n) =>
			prefixed(`transformer_blocks.${n}.`, {
				...stream("norm1", ["to_q", "to_k", "to_v", "to_out.0"], ["norm_q", "norm_k"], "ff"),
				...stream(
					"norm1_context",
					["add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"],
					["norm_added_q", "norm_added_k"],
					"ff_context",
				),
			}),
		),
		...each(config["num_single_layers"] ?? 0, (n) =>
			prefixed(`single_transformer_blocks.${n}.`, {
				...linear("norm.linear", 3 * hidden, hidden),
				...square("attn.to_q"),
				...square("attn.to_k"),
				...square("attn.to_v"),
				...headNorm("attn.norm_q"),
				...headNorm("attn.norm_k"),
				...linear("proj_mlp", 4 * hidden, hidden),
				...linear("proj_out", hidden, 5 * hidden),
			}),
		),
		...linear("norm_out.linear", 2 * hidden, hidden),
		...linear("proj_out", config["in_channels"] ?? 0, hidden),
	};
}
