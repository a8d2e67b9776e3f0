import type { NumberText } from "./numbers.ts";
import type { FusedQkv, Merge } from "./release.ts";
import type { Template } from "./template.ts";

/** Families whose models may fuse their QKV projections. */
export const FUSABLE: readonly string[] = ["llama3", "qwen3", "gpt_oss"];

const QKV = "layers.{layer}.attention.qkv_linear";

const FUSED_ROWS = "heads * head_dim + 2 * kv_heads * head_dim";

/**
 * Per key-value head: its query heads, then its key, then its value. Biases are of gpt-oss.
 *
 * @see torchtitan of 2026-04-20, `protocols/state_dict_adapter.py`, `models/gpt_oss/state_dict_adapter.py`.
 */
const STORED_FUSED: readonly Merge[] = [fused("weight", ["hidden"]), fused("bias", [])];

function fused(name: string, columns: readonly NumberText[]): Merge {
	const headsOf = (of: Template, perKeyValueHead: NumberText): Template => ({
		kind: "reshape",
		shape: ["kv_heads", perKeyValueHead, "head_dim", ...columns],
		of,
	});
	return {
		target: `${QKV}.wqkv.${name}`,
		shape: [FUSED_ROWS, ...columns],
		make: {
			kind: "reshape",
			shape: [FUSED_ROWS, ...columns],
			of: {
				kind: "concat",
				axis: 1,
				parts: [
					headsOf(`${QKV}.wq.${name}`, "heads / kv_heads"),
					headsOf(`${QKV}.wk.${name}`, 1),
					headsOf(`${QKV}.wv.${name}`, 1),
				],
			},
		},
	};
}

/** Until 2026-06-18: `+fused` stores one `wqkv`. */
export const LEGACY_FUSED: FusedQkv = {
	families: FUSABLE,
	byDefault: false,
	stored: STORED_FUSED,
};
