/**
 * Names with holes: `model.layers.{layer}.mlp.experts.{expert}.up_proj.weight`. A hole `{name}` stands for one index: decimal
 * digits without a leading zero. `*` stands for any text, also none. Rules, drops and renames of families and profiles are
 * written in it.
 */
export type Pattern = string;

/** Values of holes, by name; `*` is filled by `"*"`, `"*1"`, … from left to right. */
export type Bindings = ReadonlyMap<string, string | number>;

const HOLE = /\{([a-z]+)\}|\*/g;
const INDEX = "(0|[1-9][0-9]*)";

/** `pattern` with its holes filled; holes without a binding stay as they are. */
export function fillPattern(pattern: Pattern, bindings: Bindings): string {
	let stars = 0;
	return pattern.replace(HOLE, (hole, name: string | undefined) =>
		String(bindings.get(name ?? starName(stars++)) ?? hole),
	);
}

/** What the holes of `pattern` stand for in `text`, or `undefined` when it does not match as a whole. */
export function matchPattern(pattern: Pattern, text: string): Bindings | undefined {
	const { regex, names } = compile(pattern);
	const match = regex.exec(text);
	if (match === null) return undefined;
	const bindings = new Map<string, string>();
	for (const [hole, name] of names.entries()) {
		const value = match[hole + 1] ?? "";
		if ((bindings.get(name) ?? value) !== value) return undefined;
		bindings.set(name, value);
	}
	return bindings;
}

interface CompiledPattern {
	readonly regex: RegExp;
	/** Name of each capture group. */
	readonly names: readonly string[];
}

const compiled = new Map<Pattern, CompiledPattern>();

function compile(pattern: Pattern): CompiledPattern {
	const known = compiled.get(pattern);
	if (known !== undefined) return known;
	const names: string[] = [];
	let source = "";
	let end = 0;
	let stars = 0;
	for (const hole of pattern.matchAll(HOLE)) {
		source += escapeRegex(pattern.slice(end, hole.index));
		source += hole[1] === undefined ? "(.*)" : INDEX;
		names.push(hole[1] ?? starName(stars++));
		end = hole.index + hole[0].length;
	}
	const made = { regex: new RegExp(`^${source}${escapeRegex(pattern.slice(end))}$`), names };
	compiled.set(pattern, made);
	return made;
}

function starName(count: number): string {
	return count === 0 ? "*" : `*${count}`;
}

function escapeRegex(text: string): string {
	return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

/** Answers whether any of a set of names fits a pattern, in constant time. */
export interface NameIndex {
	/** Whether a name fits `pattern`, which may have index holes but no `*`. */
	has(pattern: Pattern): boolean;
}

/** More indices in one name than any model has; beyond it the index of a name is not worth its memory. */
const MAX_INDICES = 6;

/** Indexes `names` by every way of blanking their indices. */
export function createNameIndex(names: Iterable<string>): NameIndex {
	const blanked = new Set<string>();
	for (const name of names) {
		const parts = name.split(".");
		const indices = parts.flatMap((part, at) => (/^(0|[1-9][0-9]*)$/.test(part) ? [at] : []));
		const count = Math.min(indices.length, MAX_INDICES);
		for (let mask = 0; mask < 2 ** count; mask++) {
			const copy = [...parts];
			for (let i = 0; i < count; i++) {
				if (Math.floor(mask / 2 ** i) % 2 === 1) copy[indices[i] ?? 0] = "{}";
			}
			blanked.add(copy.join("."));
		}
	}
	return { has: (pattern) => blanked.has(pattern.replaceAll(/\{[a-z]+\}/g, "{}")) };
}
