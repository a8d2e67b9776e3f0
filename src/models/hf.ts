import { source as sourceExpr } from "../core/expr.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { ModelMap, Recipe } from "../core/recipe.ts";
import type { Source } from "../core/source.ts";
import { isRecord, type JsonRecord } from "./json.ts";
import { HF_FAMILY } from "./registry.ts";
import type { ResolvedTarget } from "./target.ts";

/**
 * Keeps every tensor of `source` under its name, whatever the architecture. A tied embedding is stored as often as the source
 * has it. The order is that of the files.
 */
export function mapHf(source: Source, target: ResolvedTarget): ModelMap {
	return {
		family: HF_FAMILY,
		target: target.id,
		facts: guessFacts(source.config),
		rules: target.rules,
		recipes: source.tensors.map(({ name, dtype, shape }): Recipe => ({
			fqn: name,
			expr: sourceExpr(name, dtype, shape),
			keepDtype: false,
		})),
		tied: [],
		dropped: [],
		synthesised: [],
	};
}

/** What most architectures call these numbers; 0 where `config.json` does not say. */
function guessFacts(config: unknown): ModelFacts {
	const top = isRecord(config) ? config : {};
	const text = isRecord(top["text_config"]) ? top["text_config"] : {};
	const both = { ...top, ...text };
	const attentionHeads = countAt(both, "num_attention_heads", "n_head");
	return {
		layers: countAt(both, "num_hidden_layers", "n_layer"),
		attentionHeads,
		keyValueHeads: countAt(both, "num_key_value_heads") || attentionHeads,
		experts: countAt(both, "num_local_experts", "num_experts", "n_routed_experts"),
		tiedEmbeddings: both["tie_word_embeddings"] === true,
	};
}

function countAt(config: JsonRecord, ...keys: readonly string[]): number {
	for (const key of keys) {
		const value = config[key];
		if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
	}
	return 0;
}
