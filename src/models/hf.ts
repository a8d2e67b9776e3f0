import { sourcesOf } from "../core/expr.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { ModelMap, Recipe, SourceNote } from "../core/recipe.ts";
import { nameModules } from "./hf-modules.ts";
import { isRecord, type JsonRecord } from "./json.ts";
import type { LogicalTensors } from "./quantised/logical.ts";
import { dequantisedNotes } from "./quantised/notes.ts";
import { HF_FAMILY } from "./registry.ts";
import type { ResolvedTarget } from "./target.ts";

/** Input embeddings, and the output head that shares them, by what transformers calls them. */
const TIES: readonly (readonly [embedding: string, head: string])[] = [
	["model.embed_tokens.weight", "lm_head.weight"],
	["model.language_model.embed_tokens.weight", "lm_head.weight"],
	["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"],
	["transformer.wte.weight", "lm_head.weight"],
];

/** Classes of transformers with an output head over the vocabulary. */
const HAS_HEAD = /For(?:CausalLM|ConditionalGeneration)$|LMHeadModel$/;

/**
 * Keeps every tensor under its name, whatever the architecture, in the order of the files; a weight that was quantised under the
 * name that it has where it is not. Where the target says so, names are those of the modules of transformers.
 *
 * A tied head, which transformers leaves out of its files, is stored as well: `state_dict()` of a model under FSDP2 has it, and
 * DCP does not load a model whose keys are not all there. A trainer that does not ask for it does not see it. Where `config.json`
 * does not say (transformers 4 leaves out what is its default, as for Gemma), a language model without a head in its files is tied.
 */
export function mapHf(
	config: unknown,
	{ tensors, stored }: LogicalTensors,
	target: ResolvedTarget,
): ModelMap {
	const isTied = saysTied(config) ?? wantsHead(config);
	const named = target.namesModules ? nameModules(config, tensors) : tensors;
	const kept = [...named].map(([fqn, expr]): Recipe => ({ fqn, expr, keepDtype: false }));
	const tie = isTied ? tieOf(named) : undefined;
	return {
		family: HF_FAMILY,
		target: target.id,
		facts: guessFacts(config, tie !== undefined),
		rules: target.rules,
		recipes: tie === undefined ? kept : [...kept, tie.recipe],
		tied: tie?.notes ?? [],
		dropped: [],
		synthesised: [],
		dequantised: dequantisedNotes(kept, stored),
	};
}

/** The head that the source leaves out because it is tied. */
function tieOf(
	tensors: LogicalTensors["tensors"],
): { readonly recipe: Recipe; readonly notes: readonly SourceNote[] } | undefined {
	for (const [name, head] of TIES) {
		const embedding = tensors.get(name);
		if (embedding === undefined || tensors.has(head)) continue;
		const reason = `tie_word_embeddings: stored again as ${head}`;
		return {
			recipe: { fqn: head, expr: embedding, keepDtype: false, isTied: true },
			notes: sourcesOf(embedding).map((source) => ({ name: source.name, reason })),
		};
	}
	return undefined;
}

/** What most architectures call these numbers; 0 where `config.json` does not say. */
function guessFacts(config: unknown, hasTie: boolean): ModelFacts {
	const { top, text } = partsOf(config);
	const both = { ...top, ...text };
	const attentionHeads = countAt(both, "num_attention_heads", "n_head");
	return {
		layers: countAt(both, "num_hidden_layers", "n_layer"),
		attentionHeads,
		keyValueHeads: countAt(both, "num_key_value_heads") || attentionHeads,
		experts: countAt(both, "num_local_experts", "num_experts", "n_routed_experts"),
		tiedEmbeddings: hasTie || saysTied(config) === true,
	};
}

function partsOf(config: unknown): { readonly top: JsonRecord; readonly text: JsonRecord } {
	const top = isRecord(config) ? config : {};
	return { top, text: isRecord(top["text_config"]) ? top["text_config"] : {} };
}

/** `undefined` when `config.json` does not say. What it says of the whole model counts before its text part, as in transformers 5. */
function saysTied(config: unknown): boolean | undefined {
	const { top, text } = partsOf(config);
	const isTied = top["tie_word_embeddings"] ?? text["tie_word_embeddings"];
	return typeof isTied === "boolean" ? isTied : undefined;
}

/** Whether `architectures` names a class with an output head. */
function wantsHead(config: unknown): boolean {
	const { architectures } = partsOf(config).top;
	const names: readonly unknown[] = Array.isArray(architectures) ? architectures : [];
	return names.some((name) => typeof name === "string" && HAS_HEAD.test(name));
}

function countAt(config: JsonRecord, ...keys: readonly string[]): number {
	for (const key of keys) {
		const value = config[key];
		if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
	}
	return 0;
}
