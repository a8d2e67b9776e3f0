import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DTYPES, type Dtype, itemBytes } from "../../src/core/dtype.ts";
import type { Shapes } from "./model-sources.ts";

/** Writes a model whose headers are real and whose weights are holes, in files of about `fileBytes`. */
export async function writeSparseModel(
	directory: string,
	config: unknown,
	shapes: Shapes,
	options: { readonly dtype: Dtype; readonly fileBytes: number },
): Promise<void> {
	await mkdir(directory, { recursive: true });
	await writeFile(join(directory, "config.json"), JSON.stringify(config));
	const files: { header: Record<string, unknown>; bytes: number }[] = [];
	for (const [name, shape] of Object.entries(shapes)) {
		const bytes = shape.reduce((a, b) => a * b, itemBytes(options.dtype));
		let file = files.at(-1);
		if (file === undefined || file.bytes + bytes > options.fileBytes) {
			file = { header: {}, bytes: 0 };
			files.push(file);
		}
		const data_offsets = [file.bytes, file.bytes + bytes];
		file.header[name] = { dtype: DTYPES[options.dtype].safetensors, shape, data_offsets };
		file.bytes += bytes;
	}
	const weightMap: Record<string, string> = {};
	for (const [index, { header, bytes }] of files.entries()) {
		const count = String(files.length).padStart(5, "0");
		const path = `model-${String(index + 1).padStart(5, "0")}-of-${count}.safetensors`;
		for (const name of Object.keys(header)) weightMap[name] = path;
		const json = Buffer.from(JSON.stringify(header));
		const length = Buffer.alloc(8);
		length.writeBigUInt64LE(BigInt(json.length));
		const handle = await open(join(directory, path), "w");
		await handle.write(Buffer.concat([length, json]));
		await handle.truncate(8 + json.length + bytes);
		await handle.close();
	}
	const indexJson = JSON.stringify({ metadata: {}, weight_map: weightMap });
	await writeFile(join(directory, "model.safetensors.index.json"), indexJson);
}

/** `config.json` and tensors of Llama 4 Scout (17B active, 16 experts), with some of its vision tensors. */
export const SCOUT: { readonly config: unknown; readonly shapes: Shapes } = {
	config: {
		architectures: ["Llama4ForConditionalGeneration"],
		model_type: "llama4",
		text_config: {
			model_type: "llama4_text",
			hidden_size: 5120,
			intermediate_size: 8192,
			intermediate_size_mlp: 16384,
			num_hidden_layers: 48,
			num_attention_heads: 40,
			num_key_value_heads: 8,
			head_dim: 128,
			num_local_experts: 16,
			interleave_moe_layer_step: 1,
			vocab_size: 202048,
			tie_word_embeddings: false,
		},
		vision_config: { model_type: "llama4_vision_model" },
	},
	shapes: scoutShapes(),
};

function scoutShapes(): Shapes {
	const hidden = 5120;
	const inner = 8192;
	const shapes: Record<string, readonly number[]> = {
		"language_model.lm_head.weight": [202_048, hidden],
		"language_model.model.embed_tokens.weight": [202_048, hidden],
		"language_model.model.norm.weight": [hidden],
		"multi_modal_projector.linear_1.weight": [hidden, 4096],
		"vision_model.class_embedding": [1408],
	};
	for (let layer = 0; layer < 48; layer++) {
		const prefix = `language_model.model.layers.${layer}.`;
		Object.assign(shapes, {
			[`${prefix}feed_forward.experts.down_proj`]: [16, inner, hidden],
			[`${prefix}feed_forward.experts.gate_up_proj`]: [16, hidden, 2 * inner],
			[`${prefix}feed_forward.router.weight`]: [16, hidden],
			[`${prefix}feed_forward.shared_expert.down_proj.weight`]: [hidden, inner],
			[`${prefix}feed_forward.shared_expert.gate_proj.weight`]: [inner, hidden],
			[`${prefix}feed_forward.shared_expert.up_proj.weight`]: [inner, hidden],
			[`${prefix}input_layernorm.weight`]: [hidden],
			[`${prefix}post_attention_layernorm.weight`]: [hidden],
			[`${prefix}self_attn.k_proj.weight`]: [1024, hidden],
			[`${prefix}self_attn.o_proj.weight`]: [hidden, 5120],
			[`${prefix}self_attn.q_proj.weight`]: [5120, hidden],
			[`${prefix}self_attn.v_proj.weight`]: [1024, hidden],
		});
	}
	return shapes;
}
