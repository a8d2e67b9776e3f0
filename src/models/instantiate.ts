import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import { type Expr, source } from "../core/expr.ts";
import { formatShape, shapesEqual } from "../core/shape.ts";
import type { SourceTensor } from "../core/source.ts";
import type { EachItem, Family, FamilyItem, OneOfItem, TensorRule } from "./family.ts";
import type { Numbers, NumberText } from "./numbers.ts";
import { createNameIndex, fillPattern, type NameIndex, type Pattern } from "./pattern.ts";
import {
	buildTemplate,
	templatePatterns,
	type TemplateScope,
	templateSources,
} from "./template.ts";

/** A target tensor that was made; its key as the newest release spells it. */
export interface MadeTensor {
	readonly target: string;
	readonly expr: Expr;
	readonly keepDtype: boolean;
	/** Whether it shares its sources with another target because the embeddings are tied. */
	readonly isTied: boolean;
}

/** A target tensor that could not be made. */
export interface MissingTarget {
	/** Its key; several when nothing says which of them the model has. */
	readonly targets: readonly string[];
	/** The source tensors that are not there. */
	readonly sources: readonly string[];
	/** Why it is not made of others. */
	readonly note?: string | undefined;
}

/** A target tensor whose sources do not fit `config.json` or one another. */
export interface MisfitTarget {
	readonly target: string;
	readonly reason: string;
}

/** What a family makes of one model's tensors. */
export interface FamilyResult {
	readonly made: readonly MadeTensor[];
	readonly missing: readonly MissingTarget[];
	readonly misfits: readonly MisfitTarget[];
	/** Every source name that a rule asked for, there or not. */
	readonly expected: ReadonlySet<string>;
}

/** What a family is applied to. */
export interface FamilyInput {
	readonly tensors: ReadonlyMap<string, SourceTensor>;
	readonly numbers: Numbers;
	readonly tiedEmbeddings: boolean;
}

interface Run extends FamilyInput {
	readonly prefix: string;
	readonly index: NameIndex;
	readonly made: MadeTensor[];
	readonly missing: MissingTarget[];
	readonly misfits: MisfitTarget[];
	readonly expected: Set<string>;
}

type Indices = ReadonlyMap<string, number>;

/**
 * Applies the rules of `family`. What does not work out is returned, not thrown, so that all of it can be reported together.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when `config.json` lacks a number that a rule needs, or says more layers or experts
 * than there are tensors.
 */
export function instantiateFamily(family: Family, input: FamilyInput): FamilyResult {
	const index = createNameIndex(input.tensors.keys());
	const run: Run = {
		...input,
		prefix: choosePrefix(family, index),
		index,
		made: [],
		missing: [],
		misfits: [],
		expected: new Set(),
	};
	runItems(family.items, new Map(), run);
	return run;
}

function choosePrefix(family: Family, index: NameIndex): string {
	let best = { prefix: "", score: -1 };
	for (const prefix of family.prefixes) {
		const score = presence(family.items, new Map(), index, prefix);
		if (score > best.score) best = { prefix, score };
	}
	return best.prefix;
}

/** How many source patterns of `items` some tensor fits. */
function presence(
	items: readonly FamilyItem[],
	indices: Indices,
	index: NameIndex,
	prefix: string,
): number {
	const patterns = items.flatMap(sourcePatterns);
	return patterns.filter((pattern) => index.has(prefix + fillPattern(pattern, indices))).length;
}

function sourcePatterns(item: FamilyItem): readonly Pattern[] {
	if (item.kind === "tensor") return templatePatterns(item.make);
	if (item.kind === "each") return item.items.flatMap(sourcePatterns);
	return item.choices.flatMap((choice) => choice.flatMap(sourcePatterns));
}

function runItems(items: readonly FamilyItem[], indices: Indices, run: Run): void {
	for (const item of items) {
		if (item.kind === "tensor") runTensor(item, indices, run);
		else if (item.kind === "each") runEach(item, indices, run);
		else runOneOf(item, indices, run);
	}
}

function runEach(item: EachItem, indices: Indices, run: Run): void {
	const count = repeat(item.count, run);
	for (let value = 0; value < count; value++) {
		runItems(item.items, new Map([...indices, [item.hole, value]]), run);
	}
}

function runOneOf(item: OneOfItem, indices: Indices, run: Run): void {
	const scores = item.choices.map((choice) => presence(choice, indices, run.index, run.prefix));
	const best = Math.max(...scores);
	if (best > 0) {
		const found = item.choices.filter((_, choice) => scores[choice] === best);
		runFirstThatFits(found, indices, run);
		return;
	}
	// Nothing says which of the choices this model has, so one tensor of each stands for all.
	const leaders = item.choices.flatMap((choice) => leadingTensor(choice) ?? []);
	const fill = (pattern: Pattern): string => fillPattern(pattern, indices);
	run.missing.push({
		targets: unique(leaders.map(({ target }) => fill(target))),
		sources: unique(leaders.map(({ pattern }) => run.prefix + fill(pattern))),
	});
}

/** Runs the first of `choices` whose sources have the shapes it wants; the first of all when none has. */
function runFirstThatFits(
	choices: readonly (readonly FamilyItem[])[],
	indices: Indices,
	run: Run,
): void {
	const trials = choices.map((choice) => {
		const trial: Run = { ...run, made: [], missing: [], misfits: [], expected: new Set() };
		runItems(choice, indices, trial);
		return trial;
	});
	const chosen = trials.find(({ misfits }) => misfits.length === 0) ?? trials[0];
	if (chosen === undefined) return;
	run.made.push(...chosen.made);
	run.missing.push(...chosen.missing);
	run.misfits.push(...chosen.misfits);
	for (const name of chosen.expected) run.expected.add(name);
}

/** The first tensor of `items` that has a source, and that source. */
function leadingTensor(
	items: readonly FamilyItem[],
): { readonly target: Pattern; readonly pattern: Pattern } | undefined {
	for (const item of items) {
		if (item.kind !== "tensor") continue;
		const pattern = templatePatterns(item.make)[0];
		if (pattern !== undefined) return { target: item.target, pattern };
	}
	return undefined;
}

function unique(names: readonly string[]): readonly string[] {
	return [...new Set(names)];
}

function runTensor(rule: TensorRule, indices: Indices, run: Run): void {
	const scope: TemplateScope = {
		lookup: (name) => lookup(name, run),
		evaluate: run.numbers.evaluate,
		repeat: (text) => repeat(text, run),
		indices,
	};
	const target = fillPattern(rule.target, indices);
	let { make } = rule;
	let names = templateSources(make, scope);
	const isTied =
		rule.tied !== undefined &&
		run.tiedEmbeddings &&
		!names.some((name) => run.tensors.has(run.prefix + name));
	if (isTied && rule.tied !== undefined) {
		make = rule.tied;
		names = templateSources(make, scope);
	}
	const full = names.map((name) => run.prefix + name);
	for (const name of full) run.expected.add(name);
	const absent = full.filter((name) => !run.tensors.has(name));
	if (absent.length > 0) {
		const note =
			rule.tied === undefined || isTied
				? undefined
				: "config.json does not tie it to the embedding";
		run.missing.push({ targets: [target], sources: absent, note });
		return;
	}
	const shape = rule.shape.map(scope.evaluate);
	try {
		const expr = buildTemplate(make, scope);
		if (!shapesEqual(expr.shape, shape)) {
			const got = formatShape(expr.shape);
			run.misfits.push({ target, reason: `${got} where config.json says ${formatShape(shape)}` });
			return;
		}
		run.made.push({ target, expr, keepDtype: rule.keepDtype ?? false, isTied });
	} catch (error) {
		if (!isHfStreamDcpError(error, "RECIPE_INVALID")) throw error;
		const wants = `config.json wants ${formatShape(shape)}`;
		run.misfits.push({ target, reason: `${wants}: ${error.message}, from ${describe(full)}` });
	}
}

/**
 * How often a rule is repeated. Every time takes a tensor at least, so that an absurd number is found before it is counted out.
 */
function repeat(text: NumberText, run: Run): number {
	const count = run.numbers.evaluate(text);
	if (count <= run.tensors.size) return count;
	throw new HfStreamDcpError(
		"CONFIG_INVALID",
		`config.json: ${text} is ${count}, but the source has only ${run.tensors.size} tensors`,
		{
			hint: "Check that the repository is complete and config.json its own; --target hf keeps every tensor as it is.",
			facts: { count, tensors: run.tensors.size },
		},
	);
}

/** The first of `names`, and the last where there are more. */
function describe(names: readonly string[]): string {
	const [first = "nothing"] = names;
	return names.length > 1 ? `${first} … ${names.at(-1)}` : first;
}

function lookup(name: string, run: Run): Expr | undefined {
	const found = run.tensors.get(run.prefix + name);
	return found && source(found.name, found.dtype, found.shape);
}
