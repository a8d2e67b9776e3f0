// A Llama-shaped model of about 4 GB, the same bytes on every machine, written in a few seconds.
import { createCipheriv } from "node:crypto";
import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";

const MiB = 2 ** 20;

/** The shape of Llama 3 8B with 8 of its 32 layers and a quarter of its vocabulary: 4.0 GB in bfloat16. */
const CONFIG = {
	architectures: ["LlamaForCausalLM"],
	model_type: "llama",
	dtype: "bfloat16",
	hidden_size: 4096,
	intermediate_size: 14336,
	num_hidden_layers: 8,
	num_attention_heads: 32,
	num_key_value_heads: 8,
	head_dim: 128,
	vocab_size: 32064,
	rms_norm_eps: 1e-5,
	tie_word_embeddings: false,
};

function layerTensors(layer) {
	const { hidden_size: dim, intermediate_size: inner, num_key_value_heads, head_dim } = CONFIG;
	const name = (rest) => `model.layers.${layer}.${rest}.weight`;
	return [
		[name("input_layernorm"), [dim]],
		[name("mlp.down_proj"), [dim, inner]],
		[name("mlp.gate_proj"), [inner, dim]],
		[name("mlp.up_proj"), [inner, dim]],
		[name("post_attention_layernorm"), [dim]],
		[name("self_attn.k_proj"), [num_key_value_heads * head_dim, dim]],
		[name("self_attn.o_proj"), [dim, dim]],
		[name("self_attn.q_proj"), [dim, dim]],
		[name("self_attn.v_proj"), [num_key_value_heads * head_dim, dim]],
	];
}

function shardTensors() {
	const { hidden_size: dim, vocab_size, num_hidden_layers } = CONFIG;
	const layers = Array.from({ length: num_hidden_layers }, (_, layer) => layerTensors(layer));
	return [
		[["model.embed_tokens.weight", [vocab_size, dim]], ...layers.slice(0, 2).flat()],
		layers.slice(2, 4).flat(),
		layers.slice(4, 6).flat(),
		[
			...layers.slice(6).flat(),
			["model.norm.weight", [dim]],
			["lm_head.weight", [vocab_size, dim]],
		],
	];
}

function encodeHeader(tensors) {
	let offset = 0;
	const entries = tensors.map(([name, shape]) => {
		const begin = offset;
		offset += shape.reduce((product, size) => product * size, 2);
		return [name, { dtype: "BF16", shape, data_offsets: [begin, offset] }];
	});
	const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(json.length));
	return { header: Buffer.concat([length, json]), dataBytes: offset };
}

async function writeShard(path, tensors, shard) {
	const { header, dataBytes } = encodeHeader(tensors);
	// A key stream: incompressible, never twice the same, and repeatable.
	const cipher = createCipheriv(
		"aes-128-ctr",
		Buffer.alloc(16, "hf-stream-dcp"),
		Buffer.alloc(16, shard),
	);
	const zeros = Buffer.alloc(8 * MiB);
	const file = await open(path, "w");
	try {
		await file.write(header);
		for (let done = 0; done < dataBytes; done += zeros.length) {
			await file.write(cipher.update(zeros.subarray(0, Math.min(zeros.length, dataBytes - done))));
		}
	} finally {
		await file.close();
	}
	return dataBytes;
}

function fiveDigits(value) {
	return String(value).padStart(5, "0");
}

/**
 * Writes the model and returns the bytes of its tensors.
 *
 * @param {string} directory made when missing
 */
export async function writeSyntheticModel(directory) {
	await mkdir(directory, { recursive: true });
	const shards = shardTensors();
	const weightMap = {};
	let totalBytes = 0;
	for (const [index, tensors] of shards.entries()) {
		const name = `model-${fiveDigits(index + 1)}-of-${fiveDigits(shards.length)}.safetensors`;
		for (const [tensor] of tensors) weightMap[tensor] = name;
		totalBytes += await writeShard(join(directory, name), tensors, index);
	}
	const index = { metadata: { total_size: totalBytes }, weight_map: weightMap };
	await writeFile(join(directory, "model.safetensors.index.json"), JSON.stringify(index));
	await writeFile(join(directory, "config.json"), JSON.stringify(CONFIG));
	return totalBytes;
}
