import type { NumberText } from "./numbers.ts";
import type { FusedQkv, Merge } from "./release.ts";
import type { Template } from "./template.ts";

/** Families whose models may fuse their QKV projections. */
export const FUSABLE: readonly string[] = ["llama3", "qwen3", "gpt_oss"];

const QKV = "layers.{layer}.attention.qkv_linear";

/** Per key-value head: its query heads, then its key, then its value. `protocols/state_dict_adapter.py` of 2026-04-20. */
const STORED_FUSED: readonly Merge[] = [
	{
		target: `${QKV}.wqkv.weight`,
		shape: ["heads * head_dim + 2 * kv_heads * head_dim", "hidden"],
		make: {
			kind: "reshape",
			shape: ["heads * head_dim + 2 * kv_heads * head_dim", "hidden"],
			of: {
				kind: "concat",
				axis: 1,
				parts: [
					headsOf(`${QKV}.wq.weight`, "heads / kv_heads"),
					headsOf(`${QKV}.wk.weight`, 1),
					headsOf(`${QKV}.wv.weight`, 1),
				],
			},
		},
	},
];

function headsOf(of: Template, perKeyValueHead: NumberText): Template {
	return { kind: "reshape", shape: ["kv_heads", perKeyValueHead, "head_dim", "hidden"], of };
}

/** Until 2026-06-18: `+fused` stores one `wqkv`. */
export const LEGACY_FUSED: FusedQkv = {
	families: FUSABLE,
	byDefault: false,
	stored: STORED_FUSED,
};
