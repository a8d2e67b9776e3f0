import type { Family, FamilyItem, TensorRule } from "../../src/models/family.ts";
import { builtInFamily } from "../../src/models/registry.ts";
import type { Template } from "../../src/models/template.ts";
import {
	type Shapes,
	SMALL,
	type SmallModel,
	smallLlama3,
	smallLlama4,
	smallQwen3Moe,
} from "./model-sources.ts";

/**
 * What finds a mistake: the checks of the file alone; names and shapes against headers; the count of elements; or nothing that we do before
 * the weights are there: then the trainer's own `dcp.load`, which misses a key, or its logits.
 */
export type Finder = "file" | "names and shapes" | "elements" | "load" | "logits";

/** A family with one mistake. */
export interface BrokenFamily {
	/** What is wrong, as the table of docs/families.md says it. */
	readonly mistake: string;
	readonly found: Finder;
	/** What the error says; none where nothing of ours finds it. */
	readonly says?: string;
	readonly model: SmallModel;
	readonly sound: Family;
	readonly broken: unknown;
}

// oxlint-disable-next-line typescript/no-explicit-any -- breaks what the types forbid
type Loose = any;

/** Every rule that makes `target`. */
function rules(items: readonly FamilyItem[], target: string): readonly TensorRule[] {
	return items.flatMap((item) => {
		if (item.kind === "tensor") return item.target === target ? [item] : [];
		return rules(item.kind === "oneOf" ? item.choices.flat() : item.items, target);
	});
}

interface Draft {
	readonly family: Loose;
	/** Changes every rule that makes `target`. */
	readonly rule: (target: string, change: (rule: Loose) => unknown) => void;
	/** The source of the first rule that makes `target`. */
	readonly make: (target: string) => Template;
}

function broken(
	mistake: string,
	found: Finder,
	model: SmallModel,
	change: (draft: Draft) => unknown,
	says?: string,
): BrokenFamily {
	const { model_type: type } = model.config;
	const names: { readonly [type: string]: string } = { llama: "llama3", qwen3_moe: "qwen3" };
	const sound = builtInFamily(names[String(type)] ?? "llama4");
	const family = structuredClone(sound) as Loose;
	change({
		family,
		rule: (target, edit) => rules(family.items, target).forEach(edit),
		make: (target) => rules(sound.items, target)[0]!.make,
	});
	return { mistake, found, ...(says !== undefined && { says }), model, sound, broken: family };
}

/** `model` with other sizes: every dimension of `from` becomes one of `to`. */
function resized(model: SmallModel, from: number, to: number, config: object): SmallModel {
	const shapes = Object.fromEntries(
		Object.entries(model.shapes).map(([name, shape]) => [
			name,
			shape.map((size) => (size === from ? to : size)),
		]),
	) satisfies Shapes;
	return { config: { ...model.config, ...config }, shapes };
}

const LLAMA3 = smallLlama3();
/** As many query rows as the model is wide: the output projection is square. */
const SQUARE = resized(LLAMA3, SMALL.hidden_size, 24, { hidden_size: 24 });
const LLAMA4 = smallLlama4("text");
const MOE = smallQwen3Moe("separate");
/** As many experts as each is wide. */
const CUBIC = resized(MOE, 10, 3, { moe_intermediate_size: 3 });
const TIED: SmallModel = {
	config: { ...LLAMA3.config, tie_word_embeddings: true },
	shapes: Object.fromEntries(
		Object.entries(LLAMA3.shapes).filter(([name]) => name !== "lm_head.weight"),
	),
};
/** A tied model with as many words as its feed-forward networks are wide. */
const TIED_SQUARE = resized(TIED, SMALL.vocab_size, SMALL.intermediate_size, {
	vocab_size: SMALL.intermediate_size,
});
/** Heads of eight rows: in one of four, both ways to order them are the same. */
const WIDE_HEADS = resized(resized(LLAMA3, 24, 48, { head_dim: 8 }), 8, 16, {});
/** As many key-value heads as heads. */
const EQUAL_HEADS = resized(LLAMA3, 8, 24, { num_key_value_heads: 6 });

const W1 = "layers.{layer}.feed_forward.w1.weight";
const W3 = "layers.{layer}.feed_forward.w3.weight";
const WQ = "layers.{layer}.attention.qkv_linear.wq.weight";
const WK = "layers.{layer}.attention.qkv_linear.wk.weight";
const WO = "layers.{layer}.attention.wo.weight";
const EXPERTS = "layers.{layer}.moe.routed_experts.inner_experts";
const Q_PROJ = "model.layers.{layer}.self_attn.q_proj.weight";
const K_PROJ = "model.layers.{layer}.self_attn.k_proj.weight";
const MLP = "model.layers.{layer}.mlp";

/** Rotary order undone instead of made. */
function reversed(of: string, heads: string): Template {
	return {
		kind: "reshape",
		shape: [`${heads} * head_dim`, "hidden"],
		of: {
			kind: "permute",
			axes: [0, 2, 1, 3],
			of: { kind: "reshape", shape: [heads, "head_dim / 2", 2, "hidden"], of },
		},
	};
}

function oneExpert(expert: number): Template {
	return {
		kind: "reshape",
		shape: [1, "expert_inner", "hidden"],
		of: `${MLP}.experts.${expert}.gate_proj.weight`,
	};
}

/** Mistakes in built-in families, one each. Sizes are those of small models of which no two axes are alike, where nothing else is said. */
export const BROKEN_FAMILIES: readonly BrokenFamily[] = [
	broken(
		"a target is made twice (`w3` called `w1`)",
		"file",
		LLAMA3,
		({ rule }) => rule(W3, (one) => (one.target = W1)),
		"is made already, by items[1].items[4]",
	),
	broken(
		"a hole that nothing binds (`{expert}` without a stack)",
		"file",
		MOE,
		({ rule }) => rule(`${EXPERTS}.w1_EFD`, (one) => (one.make = one.make.of ?? one.make)),
		"nothing binds {expert}",
	),
	broken(
		"an axis that is not there",
		"file",
		MOE,
		({ rule }) => rule(`${EXPERTS}.w1_EFD`, (one) => (one.make.axis = 3)),
		"there is no axis 3",
	),
	broken(
		"experts stacked along the wrong axis",
		"names and shapes",
		MOE,
		({ rule }) => rule(`${EXPERTS}.w1_EFD`, (one) => (one.make.axis = 1)),
		"[10, 3, 20] where config.json says [3, 10, 20]",
	),
	broken("… where there are as many experts as each is wide", "logits", CUBIC, ({ rule }) =>
		rule(`${EXPERTS}.w1_EFD`, (one) => (one.make.axis = 1)),
	),
	broken("experts in another order", "logits", MOE, ({ rule }) =>
		rule(`${EXPERTS}.w1_EFD`, (one) => {
			if (one.make.kind !== "stack") return;
			one.make = { kind: "concat", axis: 0, parts: [2, 1, 0].map(oneExpert) };
		}),
	),
	broken(
		"too few experts",
		"names and shapes",
		MOE,
		({ rule }) =>
			rule(`${EXPERTS}.w1_EFD`, (one) => {
				if (one.make.kind === "stack") one.make.count = 2;
			}),
		"[2, 10, 20] where config.json says [3, 10, 20]",
	),
	broken("gate and up exchanged", "logits", LLAMA3, ({ rule, make }) => {
		rule(W1, (one) => (one.make = make(W3)));
		rule(W3, (one) => (one.make = `${MLP}.gate_proj.weight`));
	}),
	broken("the halves of a fused gate and up exchanged", "logits", LLAMA4, ({ rule, make }) => {
		const [gate, up] = [make(`${EXPERTS}.w1_EFD`), make(`${EXPERTS}.w3_EFD`)];
		rule(`${EXPERTS}.w1_EFD`, (one) => (one.make = up));
		rule(`${EXPERTS}.w3_EFD`, (one) => (one.make = gate));
	}),
	broken(
		"one half of a fused gate and up twice, the other never",
		"elements",
		LLAMA4,
		({ rule, make }) => rule(`${EXPERTS}.w3_EFD`, (one) => (one.make = make(`${EXPERTS}.w1_EFD`))),
		"840 of its 1680 elements are never used, 840 of its 1680 elements are used more than once",
	),
	broken(
		"a fused gate and up split in the wrong place",
		"names and shapes",
		LLAMA4,
		({ rule }) => rule(`${EXPERTS}.w1_EFD`, (one) => (one.make.of.end = "hidden")),
		"[3, 20, 20] where config.json says [3, 14, 20]",
	),
	broken(
		"no transposition of experts",
		"names and shapes",
		LLAMA4,
		({ rule }) => rule(`${EXPERTS}.w2_EDF`, (one) => (one.make = one.make.of)),
		"[3, 14, 20] where config.json says [3, 20, 14]",
	),
	broken("no rotary permutation", "logits", LLAMA3, ({ rule }) =>
		rule(WQ, (one) => (one.make = Q_PROJ)),
	),
	broken("a rotary permutation the wrong way round", "logits", WIDE_HEADS, ({ rule }) =>
		rule(WQ, (one) => (one.make = reversed(Q_PROJ, "heads"))),
	),
	broken(
		"a rotary permutation of keys by the number of query heads",
		"names and shapes",
		LLAMA3,
		({ rule }) => rule(WK, (one) => (one.make = reversed(K_PROJ, "heads"))),
		"reshape of [8, 20] to [6, 2, 2, 20]",
	),
	broken(
		"the wrong number of key-value heads",
		"names and shapes",
		LLAMA3,
		({ family }) => (family.numbers.kv_heads = { keys: ["num_attention_heads"] }),
		"config.json wants [24, 20]: reshape of [8, 20]",
	),
	broken(
		"queries and keys exchanged",
		"names and shapes",
		LLAMA3,
		({ rule, make }) => {
			rule(WQ, (one) => (one.make = make(WK)));
			rule(WK, (one) => (one.make = reversed(Q_PROJ, "heads")));
		},
		"[8, 20] where config.json says [24, 20]",
	),
	broken(
		"… where there are as many key-value heads as heads",
		"logits",
		EQUAL_HEADS,
		({ rule, make }) => {
			const [query, key] = [make(WQ), make(WK)];
			rule(WQ, (one) => (one.make = key));
			rule(WK, (one) => (one.make = query));
		},
	),
	broken(
		"a matrix transposed",
		"names and shapes",
		LLAMA3,
		({ rule }) => rule(WO, (one) => (one.make = { kind: "permute", axes: [1, 0], of: one.make })),
		"[24, 20] where config.json says [20, 24]",
	),
	broken("… that is square", "logits", SQUARE, ({ rule }) =>
		rule(WO, (one) => (one.make = { kind: "permute", axes: [1, 0], of: one.make })),
	),
	broken(
		"a norm forgotten",
		"names and shapes",
		LLAMA3,
		({ family }) =>
			(family.items = family.items.filter((one: Loose) => one.target !== "norm.weight")),
		"model.norm.weight",
	),
	broken("… and dropped by a rule, too", "load", LLAMA3, ({ family }) => {
		family.items = family.items.filter((one: Loose) => one.target !== "norm.weight");
		family.drops.push({ pattern: "model.norm.weight", reason: "a mistake" });
	}),
	broken(
		"a tied head made of a tensor of another shape",
		"names and shapes",
		TIED,
		({ rule }) => rule("lm_head.weight", (one) => (one.tied = "model.norm.weight")),
		"[20] where config.json says [32, 20]",
	),
	broken("… of the same shape", "logits", TIED_SQUARE, ({ rule }) =>
		rule("lm_head.weight", (one) => (one.tied = "model.layers.0.mlp.up_proj.weight")),
	),
	broken(
		"sources of the next layer",
		"names and shapes",
		LLAMA3,
		({ family, rule }) => {
			family.items[1].also = { next: "layer + 1" };
			rule(WO, (one) => (one.make = one.make.replace("{layer}", "{next}")));
		},
		"model.layers.0.self_attn.o_proj.weight",
	),
	broken("targets of the next layer", "load", LLAMA3, ({ family, rule }) => {
		family.items[1].also = { next: "layer + 1" };
		rule(WO, (one) => (one.target = one.target.replace("{layer}", "{next}")));
	}),
	broken(
		"the same layers by two loops",
		"names and shapes",
		LLAMA3,
		({ family }) => family.items.push(family.items[1]),
		"target tensors that are made more than once (36)",
	),
	broken(
		"a source taken by two rules",
		"elements",
		LLAMA3,
		({ family }) =>
			family.items.push({
				kind: "tensor",
				target: "norm2.weight",
				shape: ["hidden"],
				make: "model.norm.weight",
			}),
		"model.norm.weight: all of its elements are used more than once",
	),
	broken(
		"no prefix",
		"names and shapes",
		smallLlama4("conditional"),
		({ family }) => (family.prefixes = [""]),
		"tok_embeddings.weight needs model.embed_tokens.weight",
	),
];
