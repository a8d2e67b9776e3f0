import { HfStreamDcpError, isHfStreamDcpError } from "../core/errors.ts";
import type { Expr } from "../core/expr.ts";
import { formatShape, shapesEqual } from "../core/shape.ts";
import type { EachItem, Family, FamilyItem, Feature, OneOfItem, TensorRule } from "./family.ts";
import type { Indices, Numbers, NumberText } from "./numbers.ts";
import { createNameIndex, fillPattern, type NameIndex, type Pattern } from "./pattern.ts";
import { choosePrefix, isSourceless, presence } from "./presence.ts";
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
	/** Every tensor of the source by name, as a float that means what it says: quantised weights are already put together. */
	readonly tensors: ReadonlyMap<string, Expr>;
	/** What the target has. */
	readonly features: ReadonlySet<Feature>;
	readonly numbers: Numbers;
	readonly tiedEmbeddings: boolean;
}

interface Run extends FamilyInput {
	readonly index: NameIndex;
	readonly made: MadeTensor[];
	readonly missing: MissingTarget[];
	readonly misfits: MisfitTarget[];
	readonly expected: Set<string>;
}

/** Where in the family's tree the rules are. */
interface Spot {
	/** What source names begin with. */
	readonly prefix: string;
	readonly indices: Indices;
}

/**
 * Applies the rules of `family`. What does not work out is returned, not thrown, so that all of it can be reported together.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when `config.json` lacks a number that a rule needs, or says more layers or experts
 * than there are tensors.
 */
export function instantiateFamily(family: Family, input: FamilyInput): FamilyResult {
	const run: Run = {
		...input,
		index: createNameIndex(input.tensors.keys()),
		made: [],
		missing: [],
		misfits: [],
		expected: new Set(),
	};
	const indices: Indices = new Map();
	runItems(family.items, { prefix: choosePrefix(family, { ...run, indices }), indices }, run);
	return run;
}

function runItems(items: readonly FamilyItem[], spot: Spot, run: Run): void {
	for (const item of items) runItem(item, spot, run);
}

function runItem(item: FamilyItem, spot: Spot, run: Run): void {
	switch (item.kind) {
		case "tensor":
			return runTensor(item, spot, run);
		case "each":
			return runEach(item, spot, run);
		case "oneOf":
			return runOneOf(item, spot, run);
		case "under":
			return runItems(
				item.items,
				{ ...spot, prefix: choosePrefix(item, { ...run, ...spot }) },
				run,
			);
		case "when":
			return run.features.has(item.feature) ? runItems(item.items, spot, run) : undefined;
		default:
			return item satisfies never;
	}
}

function runEach(item: EachItem, spot: Spot, run: Run): void {
	const count = repeat(item.count, spot.indices, run);
	for (let value = 0; value < count; value++) {
		const indices = new Map([...spot.indices, [item.hole, value]]);
		for (const [hole, text] of Object.entries(item.also ?? {})) {
			indices.set(hole, run.numbers.evaluate(text, indices));
		}
		runItems(item.items, { ...spot, indices }, run);
	}
}

function runOneOf({ choices }: OneOfItem, spot: Spot, run: Run): void {
	const place = { ...run, ...spot };
	const scores = choices.map((choice) => presence(choice, place));
	const best = Math.max(...scores);
	const found =
		best > 0 ? choices.filter((_, at) => scores[at] === best) : choices.filter(isSourceless);
	if (found.length > 0) return runFirstThatFits(found, spot, run);
	// Nothing says which of the choices this model has, so one tensor of each stands for all.
	const leaders = choices.flatMap((choice) => leadingTensor(choice) ?? []);
	const fill = (pattern: Pattern): string => fillPattern(pattern, spot.indices);
	run.missing.push({
		targets: unique(leaders.map(({ target }) => fill(target))),
		sources: unique(leaders.map(({ pattern }) => spot.prefix + fill(pattern))),
	});
}

/** Runs the first of `choices` whose sources have the shapes it wants; the first of all when none has. */
function runFirstThatFits(choices: readonly (readonly FamilyItem[])[], spot: Spot, run: Run): void {
	const trials = choices.map((choice) => {
		const trial: Run = { ...run, made: [], missing: [], misfits: [], expected: new Set() };
		runItems(choice, spot, trial);
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

function runTensor(rule: TensorRule, { prefix, indices }: Spot, run: Run): void {
	const scope: TemplateScope = {
		lookup: (name) => run.tensors.get(prefix + name),
		evaluate: (text, inner) => run.numbers.evaluate(text, inner),
		repeat: (text, inner) => repeat(text, inner, run),
		indices,
	};
	const target = fillPattern(rule.target, indices);
	let { make } = rule;
	let names = templateSources(make, scope);
	const isTied =
		rule.tied !== undefined &&
		run.tiedEmbeddings &&
		!names.some((name) => run.tensors.has(prefix + name));
	if (isTied && rule.tied !== undefined) {
		make = rule.tied;
		names = templateSources(make, scope);
	}
	const full = names.map((name) => prefix + name);
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
	const shape = rule.shape.map((size) => scope.evaluate(size, indices));
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
function repeat(text: NumberText, indices: Indices, run: Run): number {
	const count = run.numbers.evaluate(text, indices);
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
