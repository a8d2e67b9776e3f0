import { HfStreamDcpError } from "../core/errors.ts";

/**
 * A number of a rule: a number, or text of integers and names joined by `+`, `*` and `/`, evaluated with the usual
 * precedence: `"heads * head_dim"`, `"heads / kv_heads + 2"`. A division must be exact.
 */
export type NumberText = number | string;

/** Where a named number of a family comes from. */
export interface NumberRule {
	/** Keys of the model's `config.json`; the first that is there counts. `null` counts as absent. */
	readonly keys: readonly string[];
	/** Value when none is there. Without it the number is required as soon as a rule uses it. */
	readonly default?: NumberText | undefined;
}

/** The named numbers of one model. */
export interface Numbers {
	/**
	 * @throws {HfStreamDcpError} `CONFIG_INVALID` when a name has no value, a value is no positive integer, or a division is
	 * not exact.
	 */
	readonly evaluate: (text: NumberText) => number;
	/** The number called `name`, or `undefined` when `config.json` does not say. */
	readonly find: (name: string) => number | undefined;
}

/** Reads `rules` from `config`, each number when it is first asked for. */
export function createNumbers(
	rules: { readonly [name: string]: NumberRule },
	config: { readonly [key: string]: unknown },
): Numbers {
	const evaluate = (text: NumberText): number => evaluateNumber(text, required);
	const find = (name: string): number | undefined => {
		const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
		if (rule === undefined) throw invalid(`the family has no number called ${name}`);
		for (const key of rule.keys) {
			const value = config[key];
			if (value === undefined || value === null) continue;
			if (typeof value !== "number" || !Number.isSafeInteger(value) || value <= 0) {
				throw invalid(`${key} is ${JSON.stringify(value)}, not a positive integer`);
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
