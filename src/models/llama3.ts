import {
	attention,
	decoder,
	DECODER_NUMBERS,
	feedForward,
	layerNorms,
	ROTARY_FREQUENCIES,
} from "./decoder.ts";
import type { Family } from "./family.ts";
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
	numbers: DECODER_NUMBERS,
	items: decoder(
		...attention({ reorder: interleaveRotary }),
		...feedForward("layers.{layer}.feed_forward", "model.layers.{layer}.mlp", "inner"),
		...layerNorms(),
	),
	drops: [ROTARY_FREQUENCIES],
};
