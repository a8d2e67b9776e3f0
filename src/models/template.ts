import type { Dtype } from "../core/dtype.ts";
import { assertNever, HfStreamDcpError } from "../core/errors.ts";
import { cast, concat, type Expr, fill, permute, reshape, slice, stack } from "../core/expr.ts";
import type { Indices, NumberText } from "./numbers.ts";
import { fillPattern, type Pattern } from "./pattern.ts";

/**
 * An expression of the recipe algebra with holes: sources are named by patterns, sizes are {@link NumberText}. A family's rule
 * is one of these, and JSON. A bare string is a source tensor. The nodes mean what they mean in `core/expr.ts`.
 */
export type Template =
	| Pattern
	| SliceTemplate
	| PermuteTemplate
	| ReshapeTemplate
	| ConcatTemplate
	| StackTemplate
	| FillTemplate
	| CastTemplate;

/** Elements `start` up to but not including `end` of `axis`. */
export interface SliceTemplate {
	readonly kind: "slice";
	readonly axis: number;
	readonly start: NumberText;
	readonly end: NumberText;
	readonly of: Template;
}

/** Axis `d` of the value is axis `axes[d]` of the operand. */
export interface PermuteTemplate {
	readonly kind: "permute";
	readonly axes: readonly number[];
	readonly of: Template;
}

/** The same elements, row-major, under another shape. */
export interface ReshapeTemplate {
	readonly kind: "reshape";
	readonly shape: readonly NumberText[];
	readonly of: Template;
}

/** `parts` one after the other along an existing axis. */
export interface ConcatTemplate {
	readonly kind: "concat";
	readonly axis: number;
	readonly parts: readonly Template[];
}

/** `of` for every value 0 ≤ `over` < `count` of a hole, along a new axis. */
export interface StackTemplate {
	readonly kind: "stack";
	readonly axis: number;
	/** Name of the hole: `expert`. */
	readonly over: string;
	readonly count: NumberText;
	readonly of: Template;
}

/** One constant everywhere. */
export interface FillTemplate {
	readonly kind: "fill";
	readonly shape: readonly NumberText[];
	readonly value: number;
	readonly dtype: Dtype;
}

/** Element-wise conversion. */
export interface CastTemplate {
	readonly kind: "cast";
	readonly dtype: Dtype;
	readonly of: Template;
}

/** What the holes of a template stand for. */
export interface TemplateScope {
	/** The tensor called `name`, or `undefined` when there is none. */
	readonly lookup: (name: string) => Expr | undefined;
	/** The value of a number where the holes stand for `indices`. */
	readonly evaluate: (text: NumberText, indices: Indices) => number;
	/** `evaluate` for a number of repetitions; refuses one beyond reason. */
	readonly repeat: (text: NumberText, indices: Indices) => number;
	/** Values of the index holes around the template. */
	readonly indices: Indices;
}

/** The patterns of all sources of `template`, in order, holes unfilled. */
export function templatePatterns(template: Template): readonly Pattern[] {
	if (typeof template === "string") return [template];
	if (template.kind === "fill") return [];
	if (template.kind === "concat") return template.parts.flatMap(templatePatterns);
	return templatePatterns(template.of);
}

/**
 * The names of all sources of `template`, in order of use.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when the count of a stack cannot be had.
 */
export function templateSources(template: Template, scope: TemplateScope): readonly string[] {
	if (typeof template === "string") return [fillPattern(template, scope.indices)];
	if (template.kind === "fill") return [];
	if (template.kind === "concat") {
		return template.parts.flatMap((part) => templateSources(part, scope));
	}
	if (template.kind === "stack") {
		return scopesOf(template, scope).flatMap((inner) => templateSources(template.of, inner));
	}
	return templateSources(template.of, scope);
}

/**
 * Fills the holes of `template`.
 *
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when a source is missing or a node does not fit its operands;
 * `CONFIG_INVALID` when a number cannot be had.
 */
export function buildTemplate(template: Template, scope: TemplateScope): Expr {
	if (typeof template === "string") {
		const name = fillPattern(template, scope.indices);
		const found = scope.lookup(name);
		if (found === undefined) throw new HfStreamDcpError("RECIPE_INVALID", `no tensor ${name}`);
		return found;
	}
	const evaluate = (text: NumberText): number => scope.evaluate(text, scope.indices);
	switch (template.kind) {
		case "slice":
			return slice(
				buildTemplate(template.of, scope),
				template.axis,
				evaluate(template.start),
				evaluate(template.end),
			);
		case "permute":
			return permute(buildTemplate(template.of, scope), template.axes);
		case "reshape":
			return reshape(buildTemplate(template.of, scope), template.shape.map(evaluate));
		case "concat":
			return concat(
				template.parts.map((part) => buildTemplate(part, scope)),
				template.axis,
			);
		case "stack":
			return stack(
				scopesOf(template, scope).map((inner) => buildTemplate(template.of, inner)),
				template.axis,
			);
		case "fill":
			return fill(template.shape.map(evaluate), template.value, template.dtype);
		case "cast":
			return cast(buildTemplate(template.of, scope), template.dtype);
		default:
			return assertNever(template);
	}
}

function scopesOf(template: StackTemplate, scope: TemplateScope): readonly TemplateScope[] {
	return Array.from({ length: scope.repeat(template.count, scope.indices) }, (_, index) => ({
		...scope,
		indices: new Map([...scope.indices, [template.over, index]]),
	}));
}
