// DeepSeek-V3- and gpt-oss-shaped models of any size, written by `synthetic-model.mjs`. Elements and scales are noise.

const MiB = 2 ** 20;
const FP8_BLOCK = 128;

const DEEPSEEK_V3 = {
	architectures: ["DeepseekV3ForCausalLM"],
	model_type: "deepseek_v3",
	vocab_size: 4096,
	hidden_size: 7168,
	num_hidden_layers: 2,
	first_k_dense_replace: 1,
	num_attention_heads: 128,
	num_key_value_heads: 128,
	q_lora_rank: 1536,
	kv_lora_rank: 512,
	qk_nope_head_dim: 128,
	qk_rope_head_dim: 64,
	v_head_dim: 128,
	intermediate_size: 18432,
	moe_intermediate_size: 2048,
	n_routed_experts: 16,
	n_shared_experts: 1,
	num_nextn_predict_layers: 0,
};

const GPT_OSS = {
	architectures: ["GptOssForCausalLM"],
	model_type: "gpt_oss",
	vocab_size: 4096,
	hidden_size: 2880,
	num_hidden_layers: 2,
	num_attention_heads: 64,
	num_key_value_heads: 8,
	head_dim: 64,
	intermediate_size: 2880,
	num_local_experts: 32,
};

function fp8(name, rows, columns) {
	const blocks = [rows, columns].map((size) => Math.ceil(size / FP8_BLOCK));
	return [
		[name, [rows, columns], "F8_E4M3"],
		[`${name}_scale_inv`, blocks, "F32"],
	];
}

function mlp(prefix, dim, inner) {
	return [
		...fp8(`${prefix}gate_proj.weight`, inner, dim),
		...fp8(`${prefix}up_proj.weight`, inner, dim),
		...fp8(`${prefix}down_proj.weight`, dim, inner),
	];
}

function latentAttention(prefix, size) {
	const { hidden_size: dim, num_attention_heads: heads, q_lora_rank, kv_lora_rank } = size;
	const { qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim: value } = size;
	return [
		...fp8(`${prefix}q_a_proj.weight`, q_lora_rank, dim),
		[`${prefix}q_a_layernorm.weight`, [q_lora_rank]],
		...fp8(`${prefix}q_b_proj.weight`, heads * (nope + rope), q_lora_rank),
		...fp8(`${prefix}kv_a_proj_with_mqa.weight`, kv_lora_rank + rope, dim),
		[`${prefix}kv_a_layernorm.weight`, [kv_lora_rank]],
		...fp8(`${prefix}kv_b_proj.weight`, heads * (nope + value), kv_lora_rank),
		...fp8(`${prefix}o_proj.weight`, dim, heads * value),
	];
}

function routed(prefix, size) {
	const { hidden_size: dim, moe_intermediate_size: inner, n_routed_experts: count } = size;
	return [
		[`${prefix}gate.weight`, [count, dim]],
		[`${prefix}gate.e_score_correction_bias`, [count], "F32"],
		...Array.from({ length: count }, (_, e) => mlp(`${prefix}experts.${e}.`, dim, inner)).flat(),
		...mlp(`${prefix}shared_experts.`, dim, size.n_shared_experts * inner),
	];
}

function model(config, layer, fileBytes) {
	const { hidden_size: dim, vocab_size, num_hidden_layers } = config;
	const layers = Array.from({ length: num_hidden_layers }, (_, number) => {
		const start = `model.layers.${number}.`;
		return [
			[`${start}input_layernorm.weight`, [dim]],
			[`${start}post_attention_layernorm.weight`, [dim]],
			...layer(start, number),
		];
	});
	const tensors = [
		["model.embed_tokens.weight", [vocab_size, dim]],
		...layers.flat(),
		["model.norm.weight", [dim]],
		["lm_head.weight", [vocab_size, dim]],
	];
	return { config, tensors, fileBytes };
}

function deepseekOf(size) {
	const quantization_config = {
		quant_method: "fp8",
		fmt: "e4m3",
		activation_scheme: "dynamic",
		weight_block_size: [FP8_BLOCK, FP8_BLOCK],
	};
	const { hidden_size: dim, intermediate_size: inner, first_k_dense_replace: dense } = size;
	const layer = (start, number) => [
		...latentAttention(`${start}self_attn.`, size),
		...(number < dense ? mlp(`${start}mlp.`, dim, inner) : routed(`${start}mlp.`, size)),
	];
	return model({ ...size, quantization_config }, layer, 720 * MiB);
}

/** A dense layer of DeepSeek-V3 and one with 16 experts, FP8: 1.6 GB. @returns {import("./synthetic-model.mjs").Model} */
export function deepseek() {
	return deepseekOf(DEEPSEEK_V3);
}

/** The same with less of everything: 6 MB. @returns {import("./synthetic-model.mjs").Model} */
export function smallDeepseek() {
	return deepseekOf({
		...DEEPSEEK_V3,
		vocab_size: 512,
		hidden_size: 512,
		num_attention_heads: 8,
		num_key_value_heads: 8,
		q_lora_rank: 128,
		kv_lora_rank: 128,
		intermediate_size: 1024,
		moe_intermediate_size: 256,
		n_routed_experts: 4,
	});
}

function gptOssOf(size) {
	const { hidden_size: dim, intermediate_size: inner, num_local_experts: count, head_dim } = size;
	const rows = { q: size.num_attention_heads, k: size.num_key_value_heads };
	const expert = (name, height, width) => [
		[`${name}_blocks`, [count, height, width / 32, 16], "U8"],
		[`${name}_scales`, [count, height, width / 32], "U8"],
	];
	const layer = (start) => [
		...Object.entries({ ...rows, v: rows.k }).flatMap(([name, heads]) => [
			[`${start}self_attn.${name}_proj.weight`, [heads * head_dim, dim]],
			[`${start}self_attn.${name}_proj.bias`, [heads * head_dim]],
		]),
		[`${start}self_attn.o_proj.weight`, [dim, rows.q * head_dim]],
		[`${start}self_attn.o_proj.bias`, [dim]],
		[`${start}self_attn.sinks`, [rows.q]],
		[`${start}mlp.router.weight`, [count, dim]],
		[`${start}mlp.router.bias`, [count]],
		...expert(`${start}mlp.experts.gate_up_proj`, 2 * inner, dim),
		[`${start}mlp.experts.gate_up_proj_bias`, [count, 2 * inner]],
		...expert(`${start}mlp.experts.down_proj`, dim, inner),
		[`${start}mlp.experts.down_proj_bias`, [count, dim]],
	];
	const quantization_config = {
		quant_method: "mxfp4",
		modules_to_not_convert: ["model.layers.*.self_attn", "lm_head"],
	};
	return model({ ...size, quantization_config }, layer, 720 * MiB);
}

/** Two layers of gpt-oss 20B, MXFP4: 1 GB. @returns {import("./synthetic-model.mjs").Model} */
export function gptOss() {
	return gptOssOf(GPT_OSS);
}

/** The same with less of everything: 4 MB. @returns {import("./synthetic-model.mjs").Model} */
export function smallGptOss() {
	const size = { vocab_size: 512, hidden_size: 512, intermediate_size: 512, num_local_experts: 4 };
	return gptOssOf({ ...GPT_OSS, ...size, num_attention_heads: 8, num_key_value_heads: 2 });
}
