import type { Dtype } from "../../src/core/dtype.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { Source } from "../../src/core/source.ts";

/** Tensor names and shapes, in file order. */
export type Shapes = { readonly [name: string]: readonly number[] };

/** A source of one file with these tensors, all of one dtype. */
export function sourceOf(config: unknown, shapes: Shapes, dtype: Dtype = "float32"): Source {
	let end = 8;
	const tensors = Object.entries(shapes).map(([name, shape]) => {
		const begin = end;
		end += shape.reduce((a, b) => a * b, itemBytes(dtype));
		return { name, dtype, shape, file: "model.safetensors", begin, end };
	});
	return {
		repo: "test/model",
		commit: "local",
		files: [{ path: "model.safetensors", bytes: end, headerBytes: 8 }],
		tensors,
		config,
	};
}

/** Bytes whose every element tells where it came from; the formula of the adapter fixtures' PROVENANCE.md. */
export function traceableBytes(name: string, shape: readonly number[]): Uint8Array {
	const words = new Uint32Array(shape.reduce((a, b) => a * b, 1));
	let value = fnv1a32(name);
	for (let i = 0; i < words.length; i++) {
		words[i] = value;
		value = (value + 2_654_435_761) | 0;
	}
	return new Uint8Array(words.buffer);
}

function fnv1a32(text: string): number {
	let hash = 0x811c9dc5;
	for (const byte of new TextEncoder().encode(text)) {
		hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
	}
	return hash;
}

/** Numbers of a small model; every one differs, so that no two axes can be mistaken for one another. */
export const SMALL = {
	vocab_size: 32,
	hidden_size: 20,
	num_hidden_layers: 4,
	num_attention_heads: 6,
	num_key_value_heads: 2,
	head_dim: 4,
	intermediate_size: 14,
} as const;

function attention(prefix: string, extra: Shapes = {}): Shapes {
	const { hidden_size: hidden, num_attention_heads: heads, head_dim: size } = SMALL;
	const keyRows = SMALL.num_key_value_heads * size;
	return {
		[`${prefix}input_layernorm.weight`]: [hidden],
		[`${prefix}post_attention_layernorm.weight`]: [hidden],
		[`${prefix}self_attn.k_proj.weight`]: [keyRows, hidden],
		[`${prefix}self_attn.o_proj.weight`]: [hidden, heads * size],
		[`${prefix}self_attn.q_proj.weight`]: [heads * size, hidden],
		[`${prefix}self_attn.v_proj.weight`]: [keyRows, hidden],
		...Object.fromEntries(Object.entries(extra).map(([name, shape]) => [prefix + name, shape])),
	};
}

function mlp(prefix: string, inner: number): Shapes {
	return {
		[`${prefix}down_proj.weight`]: [SMALL.hidden_size, inner],
		[`${prefix}gate_proj.weight`]: [inner, SMALL.hidden_size],
		[`${prefix}up_proj.weight`]: [inner, SMALL.hidden_size],
	};
}

function outside(prefix: string): Shapes {
	return {
		[`${prefix}lm_head.weight`]: [SMALL.vocab_size, SMALL.hidden_size],
		[`${prefix}model.embed_tokens.weight`]: [SMALL.vocab_size, SMALL.hidden_size],
		[`${prefix}model.norm.weight`]: [SMALL.hidden_size],
	};
}

function layers(make: (layer: number) => Shapes): Shapes {
	const list = Array.from({ length: SMALL.num_hidden_layers }, (_, layer) => make(layer));
	return Object.assign({}, ...list) as Shapes;
}

/** A model as transformers 5.23 saves it: names, shapes and what of `config.json` matters. */
export interface SmallModel {
	readonly config: { readonly [key: string]: unknown };
	readonly shapes: Shapes;
}

/** `LlamaForCausalLM`. */
export function smallLlama3(): SmallModel {
	return {
		config: { model_type: "llama", architectures: ["LlamaForCausalLM"], ...SMALL },
		shapes: {
			...outside(""),
			...layers((n) => ({
				...attention(`model.layers.${n}.`),
				...mlp(`model.layers.${n}.mlp.`, SMALL.intermediate_size),
			})),
		},
	};
}

const QWEN_NORMS: Shapes = {
	"self_attn.q_norm.weight": [SMALL.head_dim],
	"self_attn.k_norm.weight": [SMALL.head_dim],
};

/** `Qwen3ForCausalLM`. */
export function smallQwen3(): SmallModel {
	return {
		config: { model_type: "qwen3", architectures: ["Qwen3ForCausalLM"], ...SMALL },
		shapes: {
			...outside(""),
			...layers((n) => ({
				...attention(`model.layers.${n}.`, QWEN_NORMS),
				...mlp(`model.layers.${n}.mlp.`, SMALL.intermediate_size),
			})),
		},
	};
}

const EXPERTS = 3;
const EXPERT_INNER = 10;

/** `Qwen3MoeForCausalLM` with a dense first layer (`mlp_only_layers: [0]`). */
export function smallQwen3Moe(experts: "separate" | "fused"): SmallModel {
	const separate = (prefix: string): Shapes =>
		Object.assign(
			{},
			...Array.from({ length: EXPERTS }, (_, e) => mlp(`${prefix}${e}.`, EXPERT_INNER)),
		) as Shapes;
	const fused = (prefix: string): Shapes => ({
		[`${prefix}down_proj`]: [EXPERTS, SMALL.hidden_size, EXPERT_INNER],
		[`${prefix}gate_up_proj`]: [EXPERTS, 2 * EXPERT_INNER, SMALL.hidden_size],
	});
	return {
		config: {
			model_type: "qwen3_moe",
			architectures: ["Qwen3MoeForCausalLM"],
			num_local_experts: EXPERTS,
			moe_intermediate_size: EXPERT_INNER,
			...SMALL,
		},
		shapes: {
			...outside(""),
			...layers((n) => {
				const prefix = `model.layers.${n}.mlp.`;
				const routed = (experts === "fused" ? fused : separate)(`${prefix}experts.`);
				return {
					...attention(`model.layers.${n}.`, QWEN_NORMS),
					...(n === 0
						? mlp(prefix, SMALL.intermediate_size)
						: { [`${prefix}gate.weight`]: [EXPERTS, SMALL.hidden_size], ...routed }),
				};
			}),
		},
	};
}

/** Llama 4 with every second layer dense, as Maverick. `text` is what `Llama4ForCausalLM` saves. */
export function smallLlama4(form: "text" | "conditional"): SmallModel {
	const prefix = form === "text" ? "" : "language_model.";
	const text = { ...SMALL, intermediate_size_mlp: 18, num_local_experts: EXPERTS };
	const vision: Shapes = {
		"multi_modal_projector.linear_1.weight": [SMALL.hidden_size, 6],
		"vision_model.class_embedding": [6],
		"vision_model.model.layers.0.self_attn.q_proj.weight": [6, 6],
	};
	return {
		config:
			form === "text"
				? { model_type: "llama4_text", architectures: ["Llama4ForCausalLM"], ...text }
				: {
						model_type: "llama4",
						architectures: ["Llama4ForConditionalGeneration"],
						text_config: { model_type: "llama4_text", ...text },
					},
		shapes: {
			...outside(prefix),
			...layers((n) => {
				const at = `${prefix}model.layers.${n}.feed_forward.`;
				const { hidden_size: hidden, intermediate_size: inner } = SMALL;
				return {
					...attention(`${prefix}model.layers.${n}.`),
					...(n % 2 === 0
						? mlp(at, text.intermediate_size_mlp)
						: {
								[`${at}experts.down_proj`]: [EXPERTS, inner, hidden],
								[`${at}experts.gate_up_proj`]: [EXPERTS, hidden, 2 * inner],
								[`${at}router.weight`]: [EXPERTS, hidden],
								...mlp(`${at}shared_expert.`, inner),
							}),
				};
			}),
			...(form === "text" ? {} : vision),
		},
	};
}
