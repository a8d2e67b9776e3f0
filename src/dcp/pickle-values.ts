import { corrupt, quote } from "./corrupt.ts";

/** What a pickle describes, as plain data: no class is looked up and nothing is called. */
export type PickleValue =
	| null
	| boolean
	| number
	| bigint
	| string
	| Uint8Array
	| PickleSequence
	| PickleDict
	| PickleGlobal
	| PickleObject
	| PicklePersistent;

/** A tuple, list or set. Lists and sets may contain themselves. */
export interface PickleSequence {
	readonly kind: "tuple" | "list" | "set";
	readonly items: PickleValue[];
}

/** A dict: `values[i]` belongs to `keys[i]`. A later pair replaces an earlier one of the same key. */
export interface PickleDict {
	readonly kind: "dict";
	readonly keys: PickleValue[];
	readonly values: PickleValue[];
}

/** An attribute of a Python module, by its dotted name. */
export interface PickleGlobal {
	readonly kind: "global";
	readonly name: string;
}

/** What Python would make by `callable(*args)` or `callable.__new__(callable, *args)`, then `__setstate__(state)`. */
export interface PickleObject {
	readonly kind: "object";
	/** Dotted name of the class or function. */
	readonly callable: string;
	readonly args: readonly PickleValue[];
	state: PickleValue | undefined;
}

/** A reference to something outside the pickle. */
export interface PicklePersistent {
	readonly kind: "persistent";
	readonly id: PickleValue;
}

/** More attributes than any class here has; bounds the search in one that claims thousands. */
const MAX_ATTRIBUTES = 64;

type Tagged = Extract<PickleValue, { readonly kind: string }>;

/** The kind of `value`; for values without parts, their JavaScript type. */
export function kindOf(value: PickleValue): string {
	if (value === null) return "None";
	if (value instanceof Uint8Array) return "bytes";
	return typeof value === "object" ? value.kind : typeof value;
}

function isTagged(value: PickleValue | undefined): value is Tagged {
	return typeof value === "object" && value !== null && !(value instanceof Uint8Array);
}

/** `value` as a dict. `what` names it in the error. */
export function asDict(value: PickleValue | undefined, what: string): PickleDict {
	if (isTagged(value) && value.kind === "dict") return value;
	throw corrupt(`${what} is no dict`);
}

/** The items of a list or tuple. */
export function asItems(value: PickleValue | undefined, what: string): readonly PickleValue[] {
	if (isTagged(value) && (value.kind === "list" || value.kind === "tuple")) return value.items;
	throw corrupt(`${what} is no list`);
}

/** `value` as a string. */
export function asString(value: PickleValue | undefined, what: string): string {
	if (typeof value === "string") return value;
	throw corrupt(`${what} is no string`);
}

/** `value` as an integer from 0 up to the largest safe one. */
export function asCount(value: PickleValue | undefined, what: string): number {
	if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
	throw corrupt(`${what} is no valid size`);
}

/** `value` as an object made by one of `callables`. */
export function asObject(
	value: PickleValue | undefined,
	what: string,
	...callables: readonly string[]
): PickleObject {
	if (isObjectOf(value, ...callables)) return value;
	throw corrupt(`${what} is no ${callables.join(" or ")}`);
}

/** Whether `value` is an object made by one of `callables`. */
export function isObjectOf(
	value: PickleValue | undefined,
	...callables: readonly string[]
): value is PickleObject {
	return isTagged(value) && value.kind === "object" && callables.includes(value.callable);
}

/** The name of a global; `undefined` for any other value. */
export function globalName(value: PickleValue | undefined): string | undefined {
	return isTagged(value) && value.kind === "global" ? value.name : undefined;
}

/** An attribute from the state of an object; `undefined` when it has none of that name. */
export function attribute(object: PickleObject, name: string): PickleValue | undefined {
	if (object.state === undefined) return undefined;
	const { keys, values } = asDict(object.state, `the state of ${object.callable}`);
	if (keys.length > MAX_ATTRIBUTES) {
		throw corrupt(`${object.callable} with ${keys.length} attributes, looking for ${quote(name)}`);
	}
	return values[keys.lastIndexOf(name)];
}
