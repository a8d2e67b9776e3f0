import { DTYPES, itemBytes } from "../core/dtype.ts";
import { numel, type Shape } from "../core/shape.ts";

/** A model repository in memory. */
export interface DemoModel {
	/** `org/name`. */
	readonly id: string;
	/** Path inside the repository → bytes. */
	readonly files: ReadonlyMap<string, Uint8Array>;
}

interface DemoTensor {
	readonly name: string;
	readonly shape: Shape;
}

/** Sizes of the demo: every one divides by the demo's mesh, as those of the real model do. */
const SIZE = {
	hidden: 256,
	layers: 4,
	heads: 8,
	keyValueHeads: 4,
	headDim: 32,
	experts: 8,
	expertInner: 512,
	denseInner: 1024,
	vocabulary: 4096,
	visionHidden: 128,
	visionLayers: 2,
	patch: 588,
} as const;

/** As in Llama 4 Maverick: every second layer routes to experts, the others are dense. */
const MOE_STEP = 2;

/** Size at which a new safetensors file is begun. */
const SHARD_BYTES = 8_000_000;

const DTYPE = "bfloat16";

function textLayer(layer: number): DemoTensor[] {
	const { hidden, heads, keyValueHeads, headDim, experts, expertInner, denseInner } = SIZE;
	const prefix = `language_model.model.layers.${layer}.`;
	const mlp = (name: string, inner: number): DemoTensor[] => [
		{ name: `${prefix}${name}.gate_proj.weight`, shape: [inner, hidden] },
		{ name: `${prefix}${name}.up_proj.weight`, shape: [inner, hidden] },
		{ name: `${prefix}${name}.down_proj.weight`, shape: [hidden, inner] },
	];
	const experted: DemoTensor[] = [
		{ name: `${prefix}feed_forward.router.weight`, shape: [experts, hidden] },
		{
			name: `${prefix}feed_forward.experts.gate_up_proj`,
			shape: [experts, hidden, 2 * expertInner],
		},
		{ name: `${prefix}feed_forward.experts.down_proj`, shape: [experts, expertInner, hidden] },
		...mlp("feed_forward.shared_expert", expertInner),
	];
	const isMoe = (layer + 1) % MOE_STEP === 0;
	return [
		{ name: `${prefix}input_layernorm.weight`, shape: [hidden] },
		{ name: `${prefix}self_attn.q_proj.weight`, shape: [heads * headDim, hidden] },
		{ name: `${prefix}self_attn.k_proj.weight`, shape: [keyValueHeads * headDim, hidden] },
		{ name: `${prefix}self_attn.v_proj.weight`, shape: [keyValueHeads * headDim, hidden] },
		{ name: `${prefix}self_attn.o_proj.weight`, shape: [hidden, heads * headDim] },
		{ name: `${prefix}post_attention_layernorm.weight`, shape: [hidden] },
		...(isMoe ? experted : mlp("feed_forward", denseInner)),
	];
}

function visionTensors(): DemoTensor[] {
	const { hidden, visionHidden, visionLayers, patch } = SIZE;
	const layers = Array.from({ length: visionLayers }, (_, layer) => {
		const prefix = `vision_model.model.layers.${layer}.`;
		const square: Shape = [visionHidden, visionHidden];
		return [
			{ name: `${prefix}self_attn.q_proj.weight`, shape: square },
			{ name: `${prefix}self_attn.q_proj.bias`, shape: [visionHidden] },
			{ name: `${prefix}self_attn.o_proj.weight`, shape: square },
			{ name: `${prefix}mlp.fc1.weight`, shape: [4 * visionHidden, visionHidden] },
			{ name: `${prefix}mlp.fc2.weight`, shape: [visionHidden, 4 * visionHidden] },
		];
	});
	return [
		{ name: "vision_model.patch_embedding.linear.weight", shape: [visionHidden, patch] },
		...layers.flat(),
		{ name: "multi_modal_projector.linear_1.weight", shape: [hidden, visionHidden] },
	];
}

function demoTensors(): DemoTensor[] {
	const { hidden, layers, vocabulary } = SIZE;
	return [
		...visionTensors(),
		{ name: "language_model.model.embed_tokens.weight", shape: [vocabulary, hidden] },
		...Array.from({ length: layers }, (_, layer) => textLayer(layer)).flat(),
		{ name: "language_model.model.norm.weight", shape: [hidden] },
		{ name: "language_model.lm_head.weight", shape: [vocabulary, hidden] },
	];
}

/** The fields of a real Llama 4 `config.json` that decide shapes. */
function demoConfig(): object {
	return {
		model_type: "llama4",
		architectures: ["Llama4ForConditionalGeneration"],
		dtype: DTYPE,
		text_config: {
			model_type: "llama4_text",
			hidden_size: SIZE.hidden,
			num_hidden_layers: SIZE.layers,
			num_attention_heads: SIZE.heads,
			num_key_value_heads: SIZE.keyValueHeads,
			head_dim: SIZE.headDim,
			intermediate_size: SIZE.expertInner,
			intermediate_size_mlp: SIZE.denseInner,
			num_local_experts: SIZE.experts,
			num_experts_per_tok: 1,
			interleave_moe_layer_step: MOE_STEP,
			vocab_size: SIZE.vocabulary,
			tie_word_embeddings: false,
		},
		vision_config: {
			model_type: "llama4_vision_model",
			hidden_size: SIZE.visionHidden,
			num_hidden_layers: SIZE.visionLayers,
		},
	};
}

function tensorBytes(tensor: DemoTensor): number {
	return numel(tensor.shape) * itemBytes(DTYPE);
}

function splitIntoFiles(tensors: readonly DemoTensor[]): DemoTensor[][] {
	const files: DemoTensor[][] = [[]];
	let size = 0;
	for (const tensor of tensors) {
		const bytes = tensorBytes(tensor);
		if (size > 0 && size + bytes > SHARD_BYTES) {
			files.push([]);
			size = 0;
		}
		files.at(-1)?.push(tensor);
		size += bytes;
	}
	return files;
}

/** Fills `values` with bfloat16 bits of magnitude 2^-9 … 2^-4: like weights, never NaN. xorshift32, so the same everywhere. */
function fillWithNoise(values: Uint16Array, seed: number): void {
	let state = seed;
	for (let i = 0; i < values.length; i++) {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		const sign = state & 0x8000;
		const exponent = 118 + ((state >>> 24) % 5);
		values[i] = sign | (exponent << 7) | (state & 0x7f);
	}
}

/** @see https://github.com/huggingface/safetensors#format */
function encodeSafetensors(tensors: readonly DemoTensor[], seed: number): Uint8Array {
	const header: { [name: string]: unknown } = { __metadata__: { format: "pt" } };
	let end = 0;
	for (const tensor of tensors) {
		const begin = end;
		end += tensorBytes(tensor);
		header[tensor.name] = {
			dtype: DTYPES[DTYPE].safetensors,
			shape: tensor.shape,
			data_offsets: [begin, end],
		};
	}
	const text = JSON.stringify(header);
	// Written by safetensors itself: blanks up to a multiple of 8, so that the data is aligned.
	const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
	const file = new Uint8Array(8 + json.length + end);
	new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
	file.set(json, 8);
	fillWithNoise(new Uint16Array(file.buffer, 8 + json.length), seed);
	return file;
}

function encodeJson(value: unknown): Uint8Array {
	return new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`);
}

function fiveDigits(value: number): string {
	return String(value).padStart(5, "0");
}

/** A Llama-4-shaped model of about 24 MB with vision tensors, a dense and an expert layer in turn; the same bytes on every call. */
export function createDemoModel(): DemoModel {
	const files = new Map<string, Uint8Array>();
	files.set("config.json", encodeJson(demoConfig()));
	const shards = splitIntoFiles(demoTensors());
	const weightMap: { [name: string]: string } = {};
	let totalBytes = 0;
	shards.forEach((tensors, index) => {
		const path = `model-${fiveDigits(index + 1)}-of-${fiveDigits(shards.length)}.safetensors`;
		for (const tensor of tensors) {
			weightMap[tensor.name] = path;
			totalBytes += tensorBytes(tensor);
		}
		files.set(path, encodeSafetensors(tensors, index + 1));
	});
	files.set(
		"model.safetensors.index.json",
		encodeJson({ metadata: { total_size: totalBytes }, weight_map: weightMap }),
	);
	return { id: "demo/llama-4-tiny", files };
}
