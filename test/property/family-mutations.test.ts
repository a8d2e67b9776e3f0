import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { sourcesOf } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { numel } from "../../src/core/shape.ts";
import type { Source } from "../../src/core/source.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { builtInFamily } from "../../src/models/registry.ts";
import { parseFamily } from "../../src/models/schema/parse-family.ts";
import { parseFamilyText } from "../../src/models/schema/family-text.ts";
import { checkCoverage } from "../../src/plan/check.ts";
import {
	smallLlama3,
	smallLlama4,
	type SmallModel,
	smallQwen3Moe,
	sourceOf,
} from "../support/model-sources.ts";
import { evaluateExpr } from "../support/naive-expr.ts";

const MODELS: readonly (readonly [string, SmallModel])[] = [
	["llama3", smallLlama3()],
	["llama4", smallLlama4("text")],
	["qwen3", smallQwen3Moe("separate")],
];

type Holder = { [key: string]: unknown };

/** Every object and list of a family, outermost first. */
function holdersOf(value: unknown): readonly Holder[] {
	if (typeof value !== "object" || value === null) return [];
	return [value as Holder, ...Object.values(value).flatMap(holdersOf)];
}

/** One change at a place that the numbers choose. */
const mutation = fc.record({
	holder: fc.nat(10_000),
	key: fc.nat(100),
	kind: fc.constantFrom("replace", "delete", "copy", "swap", "nudge"),
	other: fc.nat(10_000),
	value: fc.oneof(
		fc.constantFrom(
			"heads",
			"layers * 2",
			"kv_heads",
			"{layer}",
			"hidden",
			"experts",
			"",
			"expert",
		),
		fc.integer({ min: -1, max: 4 }),
		fc.constantFrom(null, true, [], {}, 0.5),
	),
});

type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

function mutate(family: unknown, { holder, key, kind, other, value }: Mutation): void {
	const holders = holdersOf(family);
	const target = holders[holder % holders.length]!;
	const keys = Object.keys(target);
	const name = keys[key % keys.length];
	if (name === undefined) return;
	const from = holders[other % holders.length]!;
	const names = Object.keys(from);
	const otherName = names[key % Math.max(1, names.length)];
	if (kind === "replace") target[name] = value;
	else if (kind === "delete") {
		if (Array.isArray(target)) target.splice(Number(name), 1);
		else delete target[name];
	} else if (kind === "nudge") {
		const old = target[name];
		if (typeof old === "number") target[name] = old + 1;
		if (typeof old === "string") target[name] = old.replace(/[a-z]+/, "layer");
	} else if (otherName !== undefined) {
		const [a, b] = [target[name], from[otherName]];
		target[name] = structuredClone(b);
		if (kind === "swap") from[otherName] = structuredClone(a);
	}
}

/** How often each element of every source tensor is in the checkpoint, by evaluating every expression. */
function countsOf(map: ModelMap, source: Source): ReadonlyMap<string, readonly number[]> {
	const starts = new Map<string, number>();
	let end = 0;
	for (const { name, shape } of source.tensors) {
		starts.set(name, end);
		end += numel(shape);
	}
	const seen = new Uint32Array(end);
	const numbered = (name: string): Uint8Array => {
		const { shape } = source.tensors.find((one) => one.name === name)!;
		const ids = Uint32Array.from({ length: numel(shape) }, (_, i) => starts.get(name)! + i);
		return new Uint8Array(ids.buffer);
	};
	for (const { expr } of map.recipes) {
		if (sourcesOf(expr).length === 0 || JSON.stringify(expr).includes('"cast"')) continue;
		for (const id of new Uint32Array(evaluateExpr(expr, numbered).slice().buffer)) {
			if (id < end) seen[id]!++;
		}
	}
	return new Map(
		source.tensors.map(({ name, shape }) => [
			name,
			[...seen.subarray(starts.get(name), starts.get(name)! + numel(shape))],
		]),
	);
}

test("whatever is changed in a family: it is refused as it should be, or every element is used once", () => {
	let accepted = 0;
	fc.assert(
		fc.property(
			fc.constantFrom(...MODELS),
			fc.array(mutation, { minLength: 1, maxLength: 2 }),
			([name, { config, shapes }], mutations) => {
				const family = structuredClone(builtInFamily(name));
				for (const one of mutations) mutate(family, one);
				const parsed = parseFamily(JSON.parse(JSON.stringify(family)));
				if (parsed.family === undefined) {
					expect(parsed.issues.length).toBeGreaterThan(0);
					// As text, the same is found, each with its line.
					const thrown = errorOf(() => parseFamilyText(JSON.stringify(family, undefined, 1), "f"));
					expect(thrown.message.match(/^ {2}f:\d+:\d+: /gm)).toHaveLength(parsed.issues.length);
					return;
				}
				const source = sourceOf(config, shapes);
				let map: ModelMap;
				try {
					map = mapModel({ source, family: parsed.family });
					checkCoverage(source, map);
				} catch (error) {
					if (!isHfStreamDcpError(error)) throw error;
					return;
				}
				accepted++;
				const dropped = new Set(map.dropped.map((note) => note.name));
				for (const [tensor, counts] of countsOf(map, source)) {
					const wanted = dropped.has(tensor) ? 0 : 1;
					expect(counts.every((count) => count === wanted)).toBe(true);
				}
			},
		),
		{ numRuns: 1500, interruptAfterTimeLimit: 8000 },
	);
	expect(accepted).toBeGreaterThan(20);
});

function errorOf(run: () => unknown): Error {
	try {
		run();
	} catch (error) {
		if (isHfStreamDcpError(error, "FAMILY_INVALID")) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}
