import type { Box } from "../core/box.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { type Expr, reshape, slice } from "../core/expr.ts";
import { at, formatShape, numel, type Shape } from "../core/shape.ts";

/** What is taken of one axis, as Python writes it. */
type AxisIndex =
	| { readonly kind: "index"; readonly index: number }
	| { readonly kind: "span"; readonly start: number | undefined; readonly stop: number | undefined }
	| { readonly kind: "rest" };

/** A tensor, or a block of it: `layers.0.wq.weight[0:4, :, -1]`. */
export interface TensorText {
	readonly name: string;
	/** What stands in brackets after the name; `undefined` without them. */
	readonly index: string | undefined;
}

/** Which elements of a tensor an index selects. */
export interface Selection {
	/** The block that holds them: all of it. */
	readonly box: Box;
	/** Shape of the result: without the axes of which one index was chosen. */
	readonly shape: Shape;
}

/**
 * Splits the name of a tensor from an index in brackets.
 *
 * @param isName - Whether a text is the name of a tensor: names may have brackets, too.
 */
export function splitTensorText(text: string, isName: (text: string) => boolean): TensorText {
	const found = isName(text) ? null : /^([^[]+)\[(.*)\]$/s.exec(text.trim());
	return found === null
		? { name: text, index: undefined }
		: { name: (found[1] ?? "").trim(), index: found[2] ?? "" };
}

/**
 * What `index` selects of a tensor, by Python's rules: `3`, `-1`, `2:5`, `:-1`, `:` and `...`, one for each axis, with commas between.
 * Axes that are not named are whole; spans are cut off at the ends of their axis.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` for text that is none of this, more axes than there are, and an index outside of its axis.
 */
export function selectBlock(shape: Shape, index: string | undefined): Selection {
	const axes = spreadRest(shape, index === undefined ? [] : parseIndex(index));
	const spans = shape.map((size, axis) => spanOf(axes[axis], size, axis));
	return {
		box: { offset: spans.map(({ start }) => start), size: spans.map(({ length }) => length) },
		shape: spans.filter(({ isDropped }) => !isDropped).map(({ length }) => length),
	};
}

/** A block of an expression's value, all of which may be asked for. */
export function sliceOf(expr: Expr, box: Box): Expr {
	return box.offset.reduce((of, start, axis) => {
		const length = at(box.size, axis);
		return length === at(of.shape, axis) ? of : slice(of, axis, start, start + length);
	}, expr);
}

/** The elements that `selection` selects of an expression's value, in its shape. */
export function selected(expr: Expr, { box, shape }: Selection): Expr {
	const block = sliceOf(expr, box);
	return shape.length === block.shape.length ? block : reshape(block, shape);
}

function invalid(message: string): HfStreamDcpError {
	return new HfStreamDcpError("OPTIONS_INVALID", message, {
		hint: 'An index is written as in Python, without steps: "NAME[0:4, :, -1]", "NAME[..., :8]".',
	});
}

const INTEGER = /^[+-]?\d{1,15}$/;

function parseIndex(text: string): readonly AxisIndex[] {
	if (text.trim() === "") throw invalid("the index [] selects nothing");
	// As in Python, a comma may end it.
	const items = text.replace(/,\s*$/, "").split(",");
	return items.map((item) => parseAxis(item.trim(), text));
}

function parseAxis(item: string, text: string): AxisIndex {
	if (item === "..." || item === "…") return { kind: "rest" };
	if (INTEGER.test(item)) return { kind: "index", index: Number(item) };
	const parts = item.split(":").map((part) => part.trim());
	const isNumberOrNothing = (part: string): boolean => part === "" || INTEGER.test(part);
	if (parts.length < 2 || parts.length > 3 || !parts.every(isNumberOrNothing)) {
		throw invalid(`${JSON.stringify(item)} in [${text}] is no index`);
	}
	const [start = "", stop = "", step = ""] = parts;
	if (step !== "" && Number(step) !== 1) {
		throw invalid(`the step ${step} in [${text}] is not supported`);
	}
	return {
		kind: "span",
		start: start === "" ? undefined : Number(start),
		stop: stop === "" ? undefined : Number(stop),
	};
}

/** One item for each axis that an index says something of, with `...` replaced. */
function spreadRest(shape: Shape, items: readonly AxisIndex[]): readonly AxisIndex[] {
	const rests = items.filter(({ kind }) => kind === "rest").length;
	if (rests > 1) throw invalid("an index has at most one ...");
	const named = items.length - rests;
	if (named > shape.length) {
		throw invalid(`an index of ${named} axes, and the tensor is ${formatShape(shape)}`);
	}
	const whole: AxisIndex = { kind: "span", start: undefined, stop: undefined };
	return items.flatMap((item) =>
		item.kind === "rest"
			? Array.from({ length: shape.length - named }, (): AxisIndex => whole)
			: [item],
	);
}

interface Span {
	readonly start: number;
	readonly length: number;
	readonly isDropped: boolean;
}

function spanOf(item: AxisIndex | undefined, size: number, axis: number): Span {
	if (item?.kind === "index") {
		const start = item.index < 0 ? item.index + size : item.index;
		if (start < 0 || start >= size) {
			throw invalid(`index ${item.index} of axis ${axis}, which has ${size}`);
		}
		return { start, length: 1, isDropped: true };
	}
	const bound = (position: number): number =>
		Math.min(size, Math.max(0, position < 0 ? position + size : position));
	const { start: first, stop } =
		item?.kind === "span" ? item : { start: undefined, stop: undefined };
	const start = bound(first ?? 0);
	const end = stop === undefined ? size : bound(stop);
	return { start, length: Math.max(0, end - start), isDropped: false };
}

/** Number of elements that are selected. */
export function selectedElements({ shape }: Selection): number {
	return numel(shape);
}
