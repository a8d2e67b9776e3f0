// Llama-shaped models of any size, the same bytes on every machine, written in a few seconds.
import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { noise } from "./lib/scratch.mjs";

const MiB = 2 ** 20;

/**
 * @typedef {object} Model
 * @property {object} config `config.json`
 * @property {readonly (readonly [name: string, shape: readonly number[], dtype?: string])[]} tensors in the order of the files; dtypes as
 * safetensors has them. Default: BF16.
 * @property {number} fileBytes a file is ended before it grows larger, unless it would be empty
 */

const LLAMA3_8B = {
	architectures: ["LlamaForCausalLM"],
	model_type: "llama",
	dtype: "bfloat16",
	hidden_size: 4096,
	intermediate_size: 14336,
	num_attention_heads: 32,
	num_key_value_heads: 8,
	head_dim: 128,
	rms_norm_eps: 1e-5,
	tie_word_embeddings: false,
};

/** Scout's proportions at half of its width. */
const LLAMA4_HALF = {
	model_type: "llama4_text",
	hidden_size: 2560,
	intermediate_size: 4096,
	intermediate_size_mlp: 8192,
	num_attention_heads: 40,
	num_key_value_heads: 8,
	head_dim: 64,
	num_local_experts: 16,
	num_experts_per_tok: 1,
	interleave_moe_layer_step: 1,
	rms_norm_eps: 1e-5,
	tie_word_embeddings: false,
};

function attention(prefix, config) {
	const { hidden_size: dim, num_attention_heads, num_key_value_heads, head_dim } = config;
	const keyValueRows = num_key_value_heads * head_dim;
	return [
		[`${prefix}self_attn.k_proj.weight`, [keyValueRows, dim]],
		[`${prefix}self_attn.o_proj.weight`, [dim, num_attention_heads * head_dim]],
		[`${prefix}self_attn.q_proj.weight`, [num_attention_heads * head_dim, dim]],
		[`${prefix}self_attn.v_proj.weight`, [keyValueRows, dim]],
	];
}

function feedForward(prefix, dim, inner) {
	return [
		[`${prefix}down_proj.weight`, [dim, inner]],
		[`${prefix}gate_proj.weight`, [inner, dim]],
		[`${prefix}up_proj.weight`, [inner, dim]],
	];
}

function experts(prefix, { hidden_size: dim, intermediate_size: inner, num_local_experts: count }) {
	return [
		[`${prefix}experts.down_proj`, [count, inner, dim]],
		[`${prefix}experts.gate_up_proj`, [count, dim, 2 * inner]],
		[`${prefix}router.weight`, [count, dim]],
		...feedForward(`${prefix}shared_expert.`, dim, inner),
	];
}

function decoder(prefix, config, middle) {
	const { hidden_size: dim, vocab_size, num_hidden_layers } = config;
	const layer = (number) => {
		const start = `${prefix}model.layers.${number}.`;
		return [
			[`${start}input_layernorm.weight`, [dim]],
			...middle(start),
			[`${start}post_attention_layernorm.weight`, [dim]],
			...attention(start, config),
		];
	};
	return [
		[`${prefix}model.embed_tokens.weight`, [vocab_size, dim]],
		...Array.from({ length: num_hidden_layers }, (_, number) => layer(number)).flat(),
		[`${prefix}model.norm.weight`, [dim]],
		[`${prefix}lm_head.weight`, [vocab_size, dim]],
	];
}

/**
 * Layers of Llama 3 8B, 436 MB each, and a quarter of its vocabulary, 525 MB: 2.3 GB with 4 layers.
 *
 * @param {{ layers?: number, fileBytes?: number }} [size]
 * @returns {Model}
 */
export function llama3({ layers = 4, fileBytes = 640 * MiB } = {}) {
	return denseModel({ ...LLAMA3_8B, num_hidden_layers: layers, vocab_size: 32064 }, fileBytes);
}

/** The same with half of the width: 0.26 GB with 2 layers. @param {{ layers?: number }} [size] @returns {Model} */
export function smallLlama3({ layers = 2 } = {}) {
	const size = { hidden_size: 2048, intermediate_size: 7168, num_attention_heads: 16 };
	const config = { ...LLAMA3_8B, ...size, num_hidden_layers: layers, vocab_size: 4096 };
	return denseModel(config, 96 * MiB);
}

function denseModel(config, fileBytes) {
	const { hidden_size: dim, intermediate_size: inner } = config;
	const middle = (layer) => feedForward(`${layer}mlp.`, dim, inner);
	return { config, tensors: decoder("", config, middle), fileBytes };
}

/**
 * Llama 4 with 16 fused experts in every layer: 2.3 GB with 2 layers.
 *
 * @param {{ layers?: number, fileBytes?: number }} [size]
 * @returns {Model}
 */
export function llama4({ layers = 2, fileBytes = 720 * MiB } = {}) {
	return expertModel({ ...LLAMA4_HALF, num_hidden_layers: layers, vocab_size: 16032 }, fileBytes);
}

/** The same with less of everything: 0.2 GB. @returns {Model} */
export function smallLlama4() {
	const size = { hidden_size: 1024, intermediate_size: 1536, intermediate_size_mlp: 3072 };
	const heads = { num_attention_heads: 16, num_hidden_layers: 1, vocab_size: 4096 };
	return expertModel({ ...LLAMA4_HALF, ...size, ...heads }, 112 * MiB);
}

function expertModel(text, fileBytes) {
	const config = {
		architectures: ["Llama4ForConditionalGeneration"],
		model_type: "llama4",
		dtype: "bfloat16",
		text_config: text,
	};
	const middle = (layer) => experts(`${layer}feed_forward.`, text);
	return { config, tensors: decoder("language_model.", text, middle), fileBytes };
}

const ITEM_BYTES = { BF16: 2, F32: 4, F8_E4M3: 1, U8: 1 };

function tensorBytes([, shape, dtype = "BF16"]) {
	return shape.reduce((product, size) => product * size, ITEM_BYTES[dtype]);
}

/** Bytes of all tensors. @param {Model} model */
export function modelBytes(model) {
	return model.tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

function splitIntoFiles({ tensors, fileBytes }) {
	const files = [[]];
	let bytes = 0;
	for (const tensor of tensors) {
		const more = tensorBytes(tensor);
		if (bytes > 0 && bytes + more > fileBytes) {
			files.push([]);
			bytes = 0;
		}
		files.at(-1).push(tensor);
		bytes += more;
	}
	return files;
}

function encodeHeader(tensors) {
	let offset = 0;
	const entries = tensors.map((tensor) => {
		const [name, shape, dtype = "BF16"] = tensor;
		const begin = offset;
		offset += tensorBytes(tensor);
		return [name, { dtype, shape, data_offsets: [begin, offset] }];
	});
	const text = JSON.stringify(Object.fromEntries(entries));
	// Blanks up to a multiple of 8, as safetensors itself writes.
	const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(json.length));
	return { header: Buffer.concat([length, json]), dataBytes: offset };
}

function fiveDigits(value) {
	return String(value).padStart(5, "0");
}

/**
 * Writes a model.
 *
 * @param {string} directory made when missing
 * @param {Model} model
 * @param {{ isSparse?: boolean }} [options] `isSparse`: the weights are holes, which read as zeros and take no space
 * @returns {Promise<number>} bytes of its tensors
 */
export async function writeModel(directory, model, { isSparse = false } = {}) {
	await mkdir(directory, { recursive: true });
	const files = splitIntoFiles(model);
	const weightMap = {};
	for (const [index, tensors] of files.entries()) {
		const name = `model-${fiveDigits(index + 1)}-of-${fiveDigits(files.length)}.safetensors`;
		for (const [tensor] of tensors) weightMap[tensor] = name;
		const { header, dataBytes } = encodeHeader(tensors);
		const file = await open(join(directory, name), "w");
		try {
			await file.write(header);
			if (isSparse) await file.truncate(header.length + dataBytes);
			else for (const piece of noise(dataBytes, index)) await file.write(piece);
		} finally {
			await file.close();
		}
	}
	const totalBytes = modelBytes(model);
	const index = { metadata: { total_size: totalBytes }, weight_map: weightMap };
	await writeFile(join(directory, "model.safetensors.index.json"), JSON.stringify(index));
	await writeFile(join(directory, "config.json"), JSON.stringify(model.config));
	return totalBytes;
}
