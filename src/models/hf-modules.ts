import { HfStreamDcpError } from "../core/errors.ts";
import { concat, type Expr, permute, stack } from "../core/expr.ts";
import { isRecord, textField } from "./json.ts";
import { createNumbers, type NumberRule, type NumberText } from "./numbers.ts";
import { type Bindings, fillPattern, matchPattern, type Pattern } from "./pattern.ts";

/**
 * How the files of some architectures become the parameters of the modules of transformers 5, which holds experts fused and the
 * towers of models with vision below `model.`. The files on the Hub, and those of `save_pretrained`, keep the names of
 * transformers 4. Everything in it is JSON.
 */
interface ModuleNames {
	/** `model_type`s of `config.json`. */
	readonly modelTypes: readonly string[];
	/** The first whose `before` fits a name renames it. */
	readonly renames?: readonly { readonly before: Pattern; readonly after: Pattern }[];
	readonly fused?: readonly FusedExperts[];
	readonly turned?: readonly TurnedExperts[];
}

/** Experts in one tensor `[experts, rows, columns]` whose last two axes the files may hold the other way round. */
interface TurnedExperts {
	readonly name: Pattern;
	readonly rows: NumberText;
	readonly columns: NumberText;
}

/** Matrices of single experts, stacked along a new first axis; several kinds of them one below the other. */
interface FusedExperts {
	readonly target: Pattern;
	/** Names after the renames, with the hole `{expert}`; `*` carries over to `target`. */
	readonly parts: readonly Pattern[];
}

function fusedExperts(gate: string, up: string, down: string): readonly FusedExperts[] {
	return [
		{ target: "*.mlp.experts.gate_up_proj", parts: [expertOf(gate), expertOf(up)] },
		{ target: "*.mlp.experts.down_proj", parts: [expertOf(down)] },
	];
}

function expertOf(projection: string): Pattern {
	return `*.mlp.experts.{expert}.${projection}.weight`;
}

/**
 * Model types of a row are converted alike in transformers 5.23, `conversion_mapping.py`; real modules of at least one of each row
 * prove it in `test/oracle/transformers-modules.test.ts`.
 */
const MODULE_NAMES: readonly ModuleNames[] = [
	{
		modelTypes: ["mixtral", "minimax"],
		renames: [{ before: "*.block_sparse_moe.*", after: "*.mlp.*" }],
		fused: fusedExperts("w1", "w3", "w2"),
	},
	{
		modelTypes: [
			"afmoe",
			"cohere2_moe",
			"deepseek_v2",
			"deepseek_v3",
			"deepseek_v32",
			"dots1",
			"flex_olmo",
			"glm4_moe",
			"glm4_moe_lite",
			"glm_moe_dsa",
			"mellum",
			"olmoe",
			"qwen2_moe",
			"qwen3_5_moe",
			"qwen3_moe",
			"qwen3_next",
			"solar_open",
		],
		fused: fusedExperts("gate_proj", "up_proj", "down_proj"),
	},
	{
		modelTypes: ["qwen3_vl_moe"],
		turned: [
			{ name: "*.mlp.experts.gate_up_proj", rows: "2 * inner", columns: "hidden" },
			{ name: "*.mlp.experts.down_proj", rows: "hidden", columns: "inner" },
		],
	},
	{
		modelTypes: ["aya_vision", "gemma3", "got_ocr2", "internvl", "llava", "mistral3", "paligemma"],
		renames: [
			{ before: "language_model.lm_head.*", after: "lm_head.*" },
			{ before: "language_model.model.*", after: "model.language_model.*" },
			{ before: "vision_tower.vision_model.*", after: "model.vision_tower.*" },
			{ before: "vision_tower.*", after: "model.vision_tower.*" },
			{ before: "multi_modal_projector.*", after: "model.multi_modal_projector.*" },
		],
	},
	{
		modelTypes: ["qwen2_vl", "qwen2_5_vl"],
		renames: [
			{ before: "visual.*", after: "model.visual.*" },
			{ before: "model.language_model.*", after: "model.language_model.*" },
			{ before: "model.visual.*", after: "model.visual.*" },
			{ before: "model.*", after: "model.language_model.*" },
		],
	},
];

/** Numbers of {@link TurnedExperts}. */
const EXPERT_NUMBERS: { readonly [name: string]: NumberRule } = {
	hidden: { keys: ["hidden_size"] },
	inner: { keys: ["moe_intermediate_size"] },
};

/**
 * `tensors`, by the names of the modules of transformers 5 that load them, in the same order; a fused tensor stands where the
 * first of its parts did. Architectures whose modules are called as their files keep their names.
 *
 * @throws {HfStreamDcpError} `NAMES_UNRESOLVED` when experts of a layer are missing; `CONFIG_INVALID` when `config.json` lacks a size of
 * theirs.
 */
export function nameModules(
	config: unknown,
	tensors: ReadonlyMap<string, Expr>,
): ReadonlyMap<string, Expr> {
	const modelType = isRecord(config) ? textField(config, "model_type") : undefined;
	const rules = MODULE_NAMES.find(({ modelTypes }) => modelTypes.includes(modelType ?? ""));
	if (rules === undefined) return tensors;
	const named = new Map<string, Expr | FoundExperts>();
	for (const [name, found] of tensors) {
		const renamed = rename(rules, name);
		const expr = turn(rules, renamed, found, config);
		const place = placeOf(rules, renamed);
		if (place === undefined) named.set(renamed, expr);
		else addPart(named, place, expr);
	}
	return new Map(
		[...named].map(([name, made]) => [name, "kind" in made ? made : fuse(name, made)]),
	);
}

function rename({ renames = [] }: ModuleNames, name: string): string {
	for (const { before, after } of renames) {
		const bindings = matchPattern(before, name);
		if (bindings !== undefined) return fillPattern(after, bindings);
	}
	return name;
}

function turn({ turned = [] }: ModuleNames, name: string, expr: Expr, config: unknown): Expr {
	const rule = turned.find((one) => matchPattern(one.name, name) !== undefined);
	if (rule === undefined) return expr;
	const top = isRecord(config) ? config : {};
	const text = isRecord(top["text_config"]) ? top["text_config"] : top;
	const numbers = createNumbers(EXPERT_NUMBERS, text, top);
	const [rows, columns] = [numbers.evaluate(rule.rows), numbers.evaluate(rule.columns)];
	const [, first, second] = expr.shape;
	// As in transformers: what has the shape of the module is taken as it is.
	const isTurned = first === columns && second === rows && rows !== columns;
	return isTurned ? permute(expr, [0, 2, 1]) : expr;
}

/** Which part of which expert of a fused tensor a source tensor is. */
interface Place {
	readonly target: string;
	readonly parts: number;
	readonly part: number;
	readonly expert: number;
}

function placeOf({ fused = [] }: ModuleNames, name: string): Place | undefined {
	for (const { target, parts } of fused) {
		for (const [part, pattern] of parts.entries()) {
			const bindings: Bindings | undefined = matchPattern(pattern, name);
			if (bindings === undefined) continue;
			return {
				target: fillPattern(target, bindings),
				parts: parts.length,
				part,
				expert: Number(bindings.get("expert")),
			};
		}
	}
	return undefined;
}

/** What was found of the experts of one layer, by part and by number. */
type FoundExperts = readonly Map<number, Expr>[];

function addPart(
	named: Map<string, Expr | FoundExperts>,
	{ target, parts, part, expert }: Place,
	expr: Expr,
): void {
	let found = named.get(target);
	if (found === undefined || "kind" in found) {
		found = Array.from({ length: parts }, () => new Map<number, Expr>());
		named.set(target, found);
	}
	found[part]?.set(expert, expr);
}

function fuse(target: string, found: FoundExperts): Expr {
	const count = 1 + Math.max(...found.flatMap((experts) => [...experts.keys()]));
	const stacks = found.map((experts) => {
		const inOrder = Array.from({ length: count }, (_, expert) => experts.get(expert));
		if (!inOrder.every((expr) => expr !== undefined)) throw missingExperts(target, inOrder);
		return stack(inOrder, 0);
	});
	const [only, ...others] = stacks;
	return only !== undefined && others.length === 0 ? only : concat(stacks, 1);
}

function missingExperts(target: string, inOrder: readonly (Expr | undefined)[]): HfStreamDcpError {
	const missing = inOrder.flatMap((expr, expert) => (expr === undefined ? [expert] : []));
	return new HfStreamDcpError(
		"NAMES_UNRESOLVED",
		`${target} needs experts 0 to ${inOrder.length - 1}; the source lacks ${missing.length} of them, the first is ${missing[0]}`,
		{
			hint: "Check that the repository is complete; --target hf keeps its names.",
			facts: { target, missing },
		},
	);
}
