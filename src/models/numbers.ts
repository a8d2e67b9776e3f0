import { HfStreamDcpError } from "../core/errors.ts";
import { isRecord, type JsonRecord } from "./json.ts";

/**
 * A number of a rule: a number, or text of integers and names joined by `+`, `*` and `/`, evaluated with the usual
 * precedence: `"heads * head_dim"`, `"heads / kv_heads + 2"`. A division must be exact.
 */
export type NumberText = number | string;

/** Where a named number of a family comes from. */
export interface NumberRule {
	/**
	 * Keys of the text model's part of `config.json`; the first that is there counts. `null` counts as absent. One with dots is a
	 * path from the top, into objects and lists: `vision_config.hidden_size`, `vision_config.merge_kernel_size.0`,
	 * `vision_config.deepstack_visual_indexes.length`. It may begin with a dot: `.projector_hidden_size`.
	 */
	readonly keys: readonly string[];
	/** Value when none is there. Without it the number is required as soon as a rule uses it. */
	readonly default?: NumberText | undefined;
	/** Smallest value that makes sense: 0 for a number of layers that a model may lack. @default 1 */
	readonly minimum?: 0 | 1 | undefined;
}

/** What holes stand for around a number: their names may be used like those of numbers. */
export type Indices = ReadonlyMap<string, number>;

/** The named numbers of one model. */
export interface Numbers {
	/**
	 * @throws {HfStreamDcpError} `CONFIG_INVALID` when a name has no value, a value is no integer or too small, or a division is
	 * not exact.
	 */
	readonly evaluate: (text: NumberText, indices?: Indices) => number;
	/** The number called `name`, or `undefined` when `config.json` does not say. */
	readonly find: (name: string) => number | undefined;
}

/**
 * Reads `rules` from `config.json`, each number when it is first asked for.
 *
 * @param text - The text model's part of it.
 * @param top - All of it.
 */
export function createNumbers(
	rules: { readonly [name: string]: NumberRule },
	text: JsonRecord,
	top: JsonRecord = text,
): Numbers {
	const evaluate = (number: NumberText, indices?: Indices): number =>
		evaluateNumber(number, (name) => indices?.get(name) ?? required(name));
	const find = (name: string): number | undefined => {
		const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
		if (rule === undefined) throw invalid(`the family has no number called ${name}`);
		for (const key of rule.keys) {
			const value = key.includes(".") ? valueAt(top, key) : text[key];
			if (value === undefined || value === null) continue;
			const { minimum = 1 } = rule;
			if (typeof value !== "number" || !Number.isSafeInteger(value) || value < minimum) {
				const wanted = minimum === 0 ? "an integer of at least 0" : "a positive integer";
				throw invalid(`${key} is ${JSON.stringify(value)}, not ${wanted}`);
			}
			return value;
		}
		return rule.default === undefined ? undefined : evaluate(rule.default);
	};
	const required = (name: string): number => {
		const value = find(name);
		if (value === undefined) throw invalid(`${rules[name]?.keys.join(" or ")} is missing`);
		return value;
	};
	return { evaluate, find };
}

/** What lies at `path`, the keys of objects and the indices of lists joined by dots. */
function valueAt(top: JsonRecord, path: string): unknown {
	let value: unknown = top;
	for (const key of path.replace(/^\./, "").split(".")) {
		if (Array.isArray(value)) value = elementAt(value, key);
		else value = isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;
	}
	return value;
}

function elementAt(list: readonly unknown[], key: string): unknown {
	if (key === "length") return list.length;
	return /^\d+$/.test(key) ? list[Number(key)] : undefined;
}

/**
 * Evaluates `text`; `lookup` gives the value of a name.
 *
 * @throws {HfStreamDcpError} `CONFIG_INVALID` when `text` is malformed or a division is not exact.
 */
export function evaluateNumber(text: NumberText, lookup: (name: string) => number): number {
	if (typeof text === "number") return text;
	return text.split("+").reduce((sum, product) => sum + evaluateProduct(product, lookup), 0);
}

function evaluateProduct(text: string, lookup: (name: string) => number): number {
	const [first = "", ...rest] = text.split(/([*/])/).map((part) => part.trim());
	let value = evaluateFactor(first, lookup);
	for (let i = 0; i + 1 < rest.length; i += 2) {
		const factor = evaluateFactor(rest[i + 1] ?? "", lookup);
		if (rest[i] === "/" && value % factor !== 0) {
			throw invalid(`${text.trim()}: ${value} is not divisible by ${factor}`);
		}
		value = rest[i] === "/" ? value / factor : value * factor;
	}
	return value;
}

function evaluateFactor(text: string, lookup: (name: string) => number): number {
	if (/^[0-9]+$/.test(text)) return Number(text);
	if (/^[a-z][a-z0-9_]*$/.test(text)) return lookup(text);
	throw invalid(`${JSON.stringify(text)} is neither an integer nor a name`);
}

function invalid(message: string): HfStreamDcpError {
	return new HfStreamDcpError("CONFIG_INVALID", `config.json: ${message}`, {
		hint: "Check the config.json of the repository; --target hf keeps every tensor as it is and needs none.",
	});
}
