import { DTYPES } from "../core/dtype.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { type Expr, sourcesOf } from "../core/expr.ts";
import type { OtherHeads } from "../core/model-facts.ts";
import type { ModelMap, Recipe, SourceNote } from "../core/recipe.ts";
import type { Source } from "../core/source.ts";
import { createDrops } from "./drops.ts";
import type { DropRule, Family } from "./family.ts";
import { mapHf } from "./hf.ts";
import { type FamilyResult, instantiateFamily, type MadeTensor } from "./instantiate.ts";
import { isRecord, type JsonRecord } from "./json.ts";
import { applyMerges } from "./merge.ts";
import { createNumbers, type Numbers } from "./numbers.ts";
import { type LogicalTensors, logicalTensors, type QuantisedUse } from "./quantised/logical.ts";
import { dequantisedNotes } from "./quantised/notes.ts";
import { chooseFamily, HF_FAMILY } from "./registry.ts";
import { HF_TARGET, isHfTarget, NEWEST_TARGET, resolveTarget, targetOf } from "./target.ts";
import { isResolved, unresolvedError, type Unresolved } from "./unresolved.ts";

/** What is mapped to what. */
export interface MapModelOptions {
	readonly source: Source;
	/** Name of a built-in family, or a family; chosen by `config.json` when left out. */
	readonly family?: string | Family | undefined;
	/** A target as {@link targetOf} reads it; the family's own when left out. */
	readonly target?: string | undefined;
	/** What the checkpoint's floats are stored as; here it matters only for weights that are quantised. @default "keep": bfloat16 */
	readonly dtype?: QuantisedUse["dtype"] | undefined;
	/** Whether quantised weights and their scales are stored as they are. @default false */
	readonly keepQuantized?: boolean | undefined;
}

/**
 * Decides how every tensor of the checkpoint is made, and accounts for every tensor of the source: used, tied, or dropped by a named
 * rule. That each of their elements is used exactly once, the plan proves.
 *
 * @throws {HfStreamDcpError} `FAMILY_UNKNOWN` when no family knows the architecture; `OPTIONS_INVALID` for a target that does
 * not exist for it; `CONFIG_INVALID` when `config.json` lacks or misstates a number; `DTYPE_UNSUPPORTED` for a quantisation that
 * cannot be undone; `NAMES_UNRESOLVED` when names or shapes do not work out, with all of them.
 */
export function mapModel(options: MapModelOptions): ModelMap {
	const { source } = options;
	checkHfPair(options);
	checkKeepQuantized(options);
	const { dtype = "keep", keepQuantized = false } = options;
	if (options.target !== undefined && isHfTarget(options.target)) {
		const logical = logicalTensors(source, { dtype, keepQuantized });
		return mapHf(source.config, logical, resolveTarget(options.target, HF_FAMILY));
	}
	const family =
		typeof options.family === "object"
			? options.family
			: chooseFamily(options.family, source.config);
	const target = targetOf(options.target, family);
	const config = isRecord(source.config) ? source.config : {};
	const logical = logicalTensors(source, { dtype, keepQuantized });

	const text = textConfig(family, config);
	const numbers = createNumbers(family.numbers, text, config);
	const ties = [config["tie_word_embeddings"], text["tie_word_embeddings"]];
	const tiedEmbeddings = ties.includes(true);
	const { tensors } = logical;
	const { features } = target;
	const result = instantiateFamily(family, { tensors, numbers, features, tiedEmbeddings });
	const { unresolved, dropped } = accountFor(
		source,
		logical.nameOf,
		createDrops(family.drops, numbers, features),
		result,
		target.spell,
	);
	if (!isResolved(unresolved)) {
		throw unresolvedError(
			`${describeModel(family, numbers)} → ${target.id}`,
			unresolved,
			result.expected,
			target.spell,
		);
	}
	refuseNonFloats(result.made);

	const recipes = applyMerges(result.made, target.merges, numbers).map(
		({ target: key, expr, keepDtype, isTied }): Recipe => ({
			fqn: target.spell(key),
			expr,
			keepDtype,
			isTied,
		}),
	);
	return {
		family: family.name,
		target: target.id,
		facts: {
			layers: countOf(family, numbers, "layers"),
			attentionHeads: countOf(family, numbers, "heads"),
			keyValueHeads: countOf(family, numbers, "kv_heads"),
			...(family.otherHeads && { otherHeads: otherHeadsOf(family.otherHeads, numbers) }),
			experts: expertsOf(family, numbers),
			tiedEmbeddings: family.unties !== true && hasTie(ties, result.made),
		},
		rules: target.rules,
		recipes,
		tied: tiedNotes(result.made),
		dropped,
		synthesised: recipes.flatMap(({ fqn, expr }) => (sourcesOf(expr).length === 0 ? [fqn] : [])),
		dequantised: dequantisedNotes(recipes, logical.stored),
	};
}

function checkHfPair({ family, target = NEWEST_TARGET }: MapModelOptions): void {
	const name = typeof family === "object" ? family.name : family;
	if (isHfTarget(target) && name !== undefined && name !== HF_FAMILY) {
		throw new HfStreamDcpError("OPTIONS_INVALID", `--target hf keeps names; it has no ${name}`, {
			hint: "Leave out --family.",
		});
	}
	if (!isHfTarget(target) && name === HF_FAMILY) {
		throw new HfStreamDcpError("OPTIONS_INVALID", `the family hf has no names for ${target}`, {
			hint: "Use --target hf.",
		});
	}
}

function checkKeepQuantized({
	keepQuantized,
	target = NEWEST_TARGET,
	dtype = "keep",
}: MapModelOptions): void {
	if (keepQuantized !== true) return;
	if (target !== HF_TARGET) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${target}: the trainer has no parameters for quantised weights and their scales`,
			{ hint: "Leave out --keep-quantized, or use --target hf." },
		);
	}
	if (dtype !== "keep") {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`--dtype ${dtype} would round the scales that --keep-quantized keeps`,
			{ hint: "Leave out one of them." },
		);
	}
}

function textConfig(family: Family, config: JsonRecord): JsonRecord {
	const inner = family.configKey === undefined ? undefined : config[family.configKey];
	return isRecord(inner) ? inner : config;
}

/** A number that torchtitan's layout asks for; 0 where a family for another trainer has none. */
function countOf(family: Family, numbers: Numbers, name: string): number {
	return Object.hasOwn(family.numbers, name) ? numbers.evaluate(name) : 0;
}

function expertsOf(family: Family, numbers: Numbers): number {
	return Object.hasOwn(family.numbers, "experts") ? (numbers.find("experts") ?? 0) : 0;
}

function otherHeadsOf(
	heads: { readonly [number: string]: string },
	numbers: Numbers,
): readonly OtherHeads[] {
	return Object.entries(heads).flatMap(([number, what]) => {
		const count = numbers.find(number);
		return count === undefined ? [] : [{ count, what }];
	});
}

/** `llama4 of 48 layers, 16 experts`. What does not fit is most often the wrong number of these. */
function describeModel(family: Family, numbers: Numbers): string {
	const layers = countOf(family, numbers, "layers");
	const experts = expertsOf(family, numbers);
	const counts = [
		...(layers === 0 ? [] : [`${layers} layers`]),
		...(experts === 0 ? [] : [`${experts} experts`]),
	];
	return `${family.name}${counts.length === 0 ? "" : ` of ${counts.join(", ")}`}`;
}

/** Sorts out the source tensors that no made tensor uses, and the keys that several made tensors have. */
function accountFor(
	source: Source,
	logicalName: LogicalTensors["nameOf"],
	dropOf: (name: string) => DropRule | undefined,
	result: FamilyResult,
	spell: (key: string) => string,
): { readonly unresolved: Unresolved; readonly dropped: readonly SourceNote[] } {
	const unmapped: string[] = [];
	const dropped: SourceNote[] = [];
	for (const { name } of source.tensors) {
		const logical = logicalName(name);
		if (result.expected.has(logical)) continue;
		const rule = dropOf(logical);
		if (rule === undefined) unmapped.push(name);
		else dropped.push({ name, reason: `${rule.pattern}: ${rule.reason}` });
	}
	const { missing, misfits } = result;
	const duplicates = madeTwice(result.made, spell);
	return { unresolved: { unmapped, missing, misfits, duplicates }, dropped };
}

/** Keys of tensors that would be stored under one name. */
function madeTwice(made: readonly MadeTensor[], spell: (key: string) => string): readonly string[] {
	const seen = new Set<string>();
	const twice = new Set<string>();
	for (const { target } of made) {
		const name = spell(target);
		if (seen.has(name)) twice.add(target);
		seen.add(name);
	}
	return [...twice];
}

/**
 * Whether embedding and head are one parameter: when one was made of the other, or by what `config.json` says, of the whole model before
 * its text part, as transformers 5 reads it. (The text part of Qwen 3-VL MoE says so by default.)
 */
function hasTie([whole, text]: readonly unknown[], made: readonly MadeTensor[]): boolean {
	return made.some((tensor) => tensor.isTied) || (whole ?? text) === true;
}

function tiedNotes(made: readonly MadeTensor[]): readonly SourceNote[] {
	return made
		.filter(({ isTied }) => isTied)
		.flatMap(({ target, expr }) =>
			sourcesOf(expr).map(({ name }) => ({
				name,
				reason: `tie_word_embeddings: stored again as ${target}`,
			})),
		);
}

function refuseNonFloats(made: readonly MadeTensor[]): void {
	const odd = made.filter(({ expr }) => !DTYPES[expr.dtype].isFloat);
	const first = odd[0];
	if (first === undefined) return;
	throw new HfStreamDcpError(
		"DTYPE_UNSUPPORTED",
		`${firstSource(first.expr)} is ${first.expr.dtype}, which is no weight without its scales (${odd.length} tensors)`,
		{
			hint: "Use the repository with the bf16 weights; --target hf keeps the bytes as they are.",
			facts: { targets: odd.map(({ target }) => target) },
		},
	);
}

function firstSource(expr: Expr): string {
	return sourcesOf(expr)[0]?.name ?? "a constant";
}

export { listFamilies } from "./registry.ts";
export { listTargets } from "./target.ts";
