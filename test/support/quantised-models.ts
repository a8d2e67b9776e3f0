import { Buffer } from "node:buffer";
import { DTYPES, type Dtype, itemBytes } from "../../src/core/dtype.ts";
import type { Source } from "../../src/core/source.ts";
import { jsonFile, type ModelFiles } from "./open-source-model.ts";
import { safetensorsFile } from "./safetensors-cases.ts";

/** One tensor of a generated model. */
export interface TinyTensor {
	readonly name: string;
	readonly dtype: Dtype;
	readonly shape: readonly number[];
	/** Row-major, little-endian. */
	readonly bytes: Uint8Array;
}

/** A model small enough to be made in a test. */
export interface TinyModel {
	readonly config: { readonly [key: string]: unknown };
	readonly tensors: readonly TinyTensor[];
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Bytes that look random, the same for the same name. FP8 codes that are NaN, and float exponents beyond reason, are avoided. */
export function tinyTensor(name: string, dtype: Dtype, shape: readonly number[]): TinyTensor {
	const bytes = new Uint8Array(product(shape) * itemBytes(dtype));
	let state = 2_166_136_261;
	for (const char of name) state = Math.imul(state ^ char.charCodeAt(0), 16_777_619) >>> 0;
	for (let i = 0; i < bytes.length; i++) {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		bytes[i] = state >>> 24;
	}
	const width = itemBytes(dtype);
	const view = new DataView(bytes.buffer);
	for (let at = 0; at < bytes.length; at += width) {
		const top = at + width - 1;
		// ±2^-3 … 2^4 for the wide floats; e4m3's NaN is all ones.
		if (dtype === "float32" || dtype === "bfloat16") {
			view.setUint8(top, (view.getUint8(top) & 0x80) | 0x3e | (view.getUint8(top) & 1));
		} else if (dtype === "float8_e4m3fn" && (view.getUint8(at) & 0x7f) === 0x7f) {
			view.setUint8(at, view.getUint8(at) & 0x8f);
		} else if (name.endsWith("_scales")) {
			view.setUint8(at, 117 + (view.getUint8(at) % 16));
		}
	}
	return { name, dtype, shape, bytes };
}

/** What `openSource` would say of the model in one file. */
export function tinySource({ config, tensors }: TinyModel): Source {
	let end = 8;
	return {
		repo: "test/tiny",
		commit: "local",
		config,
		tensors: tensors.map(({ name, dtype, shape, bytes }) => {
			const begin = end;
			end += bytes.length;
			return { name, dtype, shape, file: "model.safetensors", begin, end };
		}),
		files: [{ path: "model.safetensors", bytes: end, headerBytes: 8 }],
	};
}

/** The model as a repository of one safetensors file. */
export function tinyFiles({ config, tensors }: TinyModel): ModelFiles {
	let end = 0;
	const header = Object.fromEntries(
		tensors.map(({ name, dtype, shape, bytes }) => {
			const begin = end;
			end += bytes.length;
			const stored = { dtype: DTYPES[dtype].safetensors, shape, data_offsets: [begin, end] };
			return [name, stored];
		}),
	);
	const data = Buffer.concat(tensors.map(({ bytes }) => bytes));
	return new Map([
		["config.json", jsonFile(config)],
		["model.safetensors", safetensorsFile(JSON.stringify(header), data)],
	]);
}

/** FP8 weights and the scales of their blocks; scales of a dtype of their own. */
function fp8(
	name: string,
	shape: readonly number[],
	block: readonly [number, number],
	scaleDtype: Dtype,
): readonly TinyTensor[] {
	const scales = shape.map((size, d) => {
		const one = block[d - shape.length + 2] ?? 1;
		return Math.ceil(size / one);
	});
	return [
		tinyTensor(name, "float8_e4m3fn", shape),
		tinyTensor(`${name}_scale_inv`, scaleDtype, scales),
	];
}

/** How a DeepSeek-V3-shaped model differs from V3 itself. */
export interface DeepseekForm {
	/** `float8_e4m3fn` with scales, or plain. @default "fp8" */
	readonly weights?: "fp8" | "bfloat16";
	/** @default "lora" */
	readonly queries?: "lora" | "plain";
	/** @default "separate" */
	readonly experts?: "separate" | "fused";
	/** Whether its routers have a bias. @default true */
	readonly routerBias?: boolean;
	/** Layers for multi-token prediction. @default 1 */
	readonly prediction?: number;
	/** @default "float32" */
	readonly scales?: "float32" | "bfloat16";
}

/** Sizes that no two of them share, and that blocks of 16 × 8 do not divide. */
const DEEPSEEK = {
	vocab_size: 40,
	hidden_size: 36,
	num_hidden_layers: 3,
	first_k_dense_replace: 1,
	num_attention_heads: 2,
	num_key_value_heads: 2,
	q_lora_rank: 20,
	kv_lora_rank: 12,
	qk_nope_head_dim: 8,
	qk_rope_head_dim: 4,
	v_head_dim: 10,
	intermediate_size: 50,
	moe_intermediate_size: 18,
	n_routed_experts: 4,
	n_shared_experts: 2,
} as const;

const FP8_BLOCK: readonly [number, number] = [16, 8];

/** `DeepseekV3ForCausalLM` as it lies on the Hub, with every dimension smaller. */
export function tinyDeepseek(form: DeepseekForm = {}): TinyModel {
	const { weights = "fp8", queries = "lora", experts = "separate" } = form;
	const { routerBias = true, prediction = 1, scales = "float32" } = form;
	const size = DEEPSEEK;
	const heads = size.num_attention_heads;
	const plain = (name: string, shape: readonly number[]): readonly TinyTensor[] => [
		tinyTensor(name, "bfloat16", shape),
	];
	const linear = (name: string, shape: readonly number[]): readonly TinyTensor[] =>
		weights === "fp8" ? fp8(name, shape, FP8_BLOCK, scales) : plain(name, shape);
	const mlp = (prefix: string, inner: number): readonly TinyTensor[] => [
		...linear(`${prefix}.gate_proj.weight`, [inner, size.hidden_size]),
		...linear(`${prefix}.up_proj.weight`, [inner, size.hidden_size]),
		...linear(`${prefix}.down_proj.weight`, [size.hidden_size, inner]),
	];
	const attention = (prefix: string): readonly TinyTensor[] => {
		const rows = heads * (size.qk_nope_head_dim + size.qk_rope_head_dim);
		return [
			...(queries === "plain"
				? linear(`${prefix}.q_proj.weight`, [rows, size.hidden_size])
				: [
						...linear(`${prefix}.q_a_proj.weight`, [size.q_lora_rank, size.hidden_size]),
						...plain(`${prefix}.q_a_layernorm.weight`, [size.q_lora_rank]),
						...linear(`${prefix}.q_b_proj.weight`, [rows, size.q_lora_rank]),
					]),
			...linear(`${prefix}.kv_a_proj_with_mqa.weight`, [
				size.kv_lora_rank + size.qk_rope_head_dim,
				size.hidden_size,
			]),
			...plain(`${prefix}.kv_a_layernorm.weight`, [size.kv_lora_rank]),
			...linear(`${prefix}.kv_b_proj.weight`, [
				heads * (size.qk_nope_head_dim + size.v_head_dim),
				size.kv_lora_rank,
			]),
			...linear(`${prefix}.o_proj.weight`, [size.hidden_size, heads * size.v_head_dim]),
		];
	};
	const routed = (prefix: string): readonly TinyTensor[] => [
		...plain(`${prefix}.gate.weight`, [size.n_routed_experts, size.hidden_size]),
		...(routerBias
			? [tinyTensor(`${prefix}.gate.e_score_correction_bias`, "float32", [size.n_routed_experts])]
			: []),
		...(experts === "fused"
			? [
					...linear(`${prefix}.experts.gate_up_proj`, [
						size.n_routed_experts,
						2 * size.moe_intermediate_size,
						size.hidden_size,
					]),
					...linear(`${prefix}.experts.down_proj`, [
						size.n_routed_experts,
						size.hidden_size,
						size.moe_intermediate_size,
					]),
				]
			: Array.from({ length: size.n_routed_experts }, (_, expert) =>
					mlp(`${prefix}.experts.${expert}`, size.moe_intermediate_size),
				).flat()),
		...mlp(`${prefix}.shared_experts`, size.n_shared_experts * size.moe_intermediate_size),
	];
	const layer = (n: number): readonly TinyTensor[] => {
		const prefix = `model.layers.${n}`;
		const isDense = n < size.first_k_dense_replace;
		return [
			...attention(`${prefix}.self_attn`),
			...plain(`${prefix}.input_layernorm.weight`, [size.hidden_size]),
			...plain(`${prefix}.post_attention_layernorm.weight`, [size.hidden_size]),
			...(isDense ? mlp(`${prefix}.mlp`, size.intermediate_size) : routed(`${prefix}.mlp`)),
		];
	};
	const predicting = (n: number): readonly TinyTensor[] => {
		const prefix = `model.layers.${n}`;
		return [
			...layer(n),
			...plain(`${prefix}.embed_tokens.weight`, [size.vocab_size, size.hidden_size]),
			...plain(`${prefix}.enorm.weight`, [size.hidden_size]),
			...plain(`${prefix}.hnorm.weight`, [size.hidden_size]),
			...plain(`${prefix}.eh_proj.weight`, [size.hidden_size, 2 * size.hidden_size]),
			...plain(`${prefix}.shared_head.norm.weight`, [size.hidden_size]),
			...plain(`${prefix}.shared_head.head.weight`, [size.vocab_size, size.hidden_size]),
		];
	};
	const counts = { ...size, q_lora_rank: queries === "plain" ? null : size.q_lora_rank };
	return {
		config: {
			model_type: "deepseek_v3",
			architectures: ["DeepseekV3ForCausalLM"],
			...counts,
			num_nextn_predict_layers: prediction,
			...(weights === "fp8"
				? {
						quantization_config: {
							quant_method: "fp8",
							fmt: "e4m3",
							activation_scheme: "dynamic",
							weight_block_size: FP8_BLOCK,
						},
					}
				: {}),
		},
		tensors: [
			...plain("model.embed_tokens.weight", [size.vocab_size, size.hidden_size]),
			...Array.from({ length: size.num_hidden_layers }, (_, n) => layer(n)).flat(),
			...Array.from({ length: prediction }, (_, k) =>
				predicting(size.num_hidden_layers + k),
			).flat(),
			...plain("model.norm.weight", [size.hidden_size]),
			...plain("lm_head.weight", [size.vocab_size, size.hidden_size]),
		],
	};
}

const GPT_OSS = {
	vocab_size: 40,
	hidden_size: 64,
	num_hidden_layers: 2,
	num_attention_heads: 4,
	num_key_value_heads: 2,
	head_dim: 8,
	intermediate_size: 96,
	num_local_experts: 4,
} as const;

/** `GptOssForCausalLM` as it lies on the Hub, or as `save_pretrained` writes it after dequantisation. */
export function tinyGptOss(form: "mxfp4" | "bfloat16" = "mxfp4"): TinyModel {
	const size = GPT_OSS;
	const experts = size.num_local_experts;
	const plain = (name: string, ...shape: readonly number[]): TinyTensor =>
		tinyTensor(name, "bfloat16", shape);
	const expert = (name: string, rows: number, columns: number): readonly TinyTensor[] =>
		form === "mxfp4"
			? [
					tinyTensor(`${name}_blocks`, "uint8", [experts, rows, columns / 32, 16]),
					tinyTensor(`${name}_scales`, "uint8", [experts, rows, columns / 32]),
				]
			: [plain(name, experts, columns, rows)];
	const layer = (n: number): readonly TinyTensor[] => {
		const prefix = `model.layers.${n}`;
		const inner = size.intermediate_size;
		const rows: { readonly [name: string]: number } = {
			q: size.num_attention_heads * size.head_dim,
			k: size.num_key_value_heads * size.head_dim,
			v: size.num_key_value_heads * size.head_dim,
		};
		return [
			...Object.entries(rows).flatMap(([name, count]) => [
				plain(`${prefix}.self_attn.${name}_proj.weight`, count, size.hidden_size),
				plain(`${prefix}.self_attn.${name}_proj.bias`, count),
			]),
			plain(`${prefix}.self_attn.o_proj.weight`, size.hidden_size, rows["q"]!),
			plain(`${prefix}.self_attn.o_proj.bias`, size.hidden_size),
			plain(`${prefix}.self_attn.sinks`, size.num_attention_heads),
			plain(`${prefix}.input_layernorm.weight`, size.hidden_size),
			plain(`${prefix}.post_attention_layernorm.weight`, size.hidden_size),
			plain(`${prefix}.mlp.router.weight`, experts, size.hidden_size),
			plain(`${prefix}.mlp.router.bias`, experts),
			...expert(`${prefix}.mlp.experts.gate_up_proj`, 2 * inner, size.hidden_size),
			plain(`${prefix}.mlp.experts.gate_up_proj_bias`, experts, 2 * inner),
			...expert(`${prefix}.mlp.experts.down_proj`, size.hidden_size, inner),
			plain(`${prefix}.mlp.experts.down_proj_bias`, experts, size.hidden_size),
		];
	};
	return {
		config: {
			model_type: "gpt_oss",
			architectures: ["GptOssForCausalLM"],
			...size,
			...(form === "mxfp4"
				? {
						quantization_config: {
							quant_method: "mxfp4",
							modules_to_not_convert: ["model.layers.*.self_attn", "lm_head"],
						},
					}
				: {}),
		},
		tensors: [
			plain("model.embed_tokens.weight", size.vocab_size, size.hidden_size),
			...Array.from({ length: size.num_hidden_layers }, (_, n) => layer(n)).flat(),
			plain("model.norm.weight", size.hidden_size),
			plain("lm_head.weight", size.vocab_size, size.hidden_size),
		],
	};
}
