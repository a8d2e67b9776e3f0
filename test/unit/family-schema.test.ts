import { describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { Family } from "../../src/models/family.ts";
import { FAMILIES } from "../../src/models/registry.ts";
import { DIFFERENCES } from "../../src/models/schema/entries.ts";
import { parseFamilyText } from "../../src/models/schema/family-text.ts";
import {
	defineFamily,
	type FamilyInput,
	parseFamily,
} from "../../src/models/schema/parse-family.ts";

/** A family with something of everything. */
const SOUND: FamilyInput = {
	name: "mine",
	configKey: "text_config",
	prefixes: ["model.", ""],
	numbers: {
		layers: { keys: ["num_hidden_layers"] },
		heads: { keys: ["num_attention_heads"] },
		kv_heads: { keys: ["num_key_value_heads"], default: "heads" },
		hidden: { keys: ["hidden_size"] },
		extra: { keys: ["mtp"], default: 0, minimum: 0 },
	},
	items: [
		{
			kind: "tensor",
			target: "embed",
			shape: ["hidden", 8],
			make: "embed",
			tied: { kind: "permute", axes: [1, 0], of: "head" },
		},
		{
			kind: "each",
			hole: "layer",
			count: "layers",
			also: { next: "layer + 1" },
			items: [
				{
					kind: "oneOf",
					choices: [
						[{ kind: "tensor", target: "l.{layer}.w", shape: ["hidden"], make: "l.{next}.w" }],
						[
							{
								kind: "tensor",
								target: "l.{layer}.w",
								shape: [4, "hidden"],
								make: {
									kind: "stack",
									axis: 0,
									over: "expert",
									count: 4,
									of: { kind: "cast", dtype: "float32", of: "l.{layer}.{expert}.w" },
								},
							},
						],
						[],
					],
				},
			],
		},
		{
			kind: "under",
			prefixes: ["vision."],
			items: [
				{
					kind: "when",
					feature: "mtp",
					items: [
						{
							kind: "tensor",
							target: "v",
							shape: ["2 * hidden / 2"],
							make: {
								kind: "concat",
								axis: 0,
								parts: [
									{ kind: "slice", axis: 0, start: 0, end: "hidden / 2", of: "v" },
									{ kind: "fill", shape: ["hidden / 2"], value: 0, dtype: "float32" },
								],
							},
						},
					],
				},
			],
		},
	],
	drops: [{ pattern: "x.{layer}.*", where: { layer: ["layers", "layers + extra"] }, reason: "y" }],
};

describe("families that are sound", () => {
	test("every built-in family is one, and the same when it is read again", () => {
		for (const family of FAMILIES) {
			expect(parseFamily(JSON.parse(JSON.stringify(family)))).toEqual({ family });
		}
	});

	test("what a family of one's own has no use for may be left out", () => {
		expect(defineFamily(SOUND)).toEqual({
			...SOUND,
			summary: "",
			modelTypes: [],
			architectures: [],
		});
	});

	test("schema and types agree", () => {
		expect(DIFFERENCES).toEqual([]);
	});
});

type Change = (family: ReturnType<typeof copy>) => unknown;

// oxlint-disable-next-line typescript/no-explicit-any -- breaks what the types forbid
function copy(): any {
	return structuredClone(SOUND) as unknown;
}

/** `path: message` of everything that is wrong after `change`. */
function issuesAfter(change: Change): readonly string[] {
	const family = copy();
	change(family);
	return (parseFamily(family).issues ?? []).map(
		({ path, message }) => `${path.join(".")}: ${message}`,
	);
}

const LAYER = "items.1.items.0.choices";

const BROKEN: readonly (readonly [string, Change, readonly string[]])[] = [
	[
		"a key of the family",
		(f) => (f.drop = []),
		["drop: there is no key drop here; did you mean drops?"],
	],
	[
		"a key of a template",
		(f) => (f.items[0].tied.off = 1),
		["items.0.tied.off: there is no key off here; did you mean of?"],
	],
	[
		"a key of a number",
		(f) => (f.numbers.heads.key = ""),
		["numbers.heads.key: there is no key key here; did you mean keys?"],
	],
	[
		"a key of a drop",
		(f) => (f.drops[0].if = ""),
		["drops.0.if: there is no key if here; there are: pattern, where, unless, reason"],
	],
	["a missing key", (f) => delete f.items[0].make, ["items.0: make is missing"]],
	["a missing family", (f) => delete f.items, ["items is missing"].map((text) => `: ${text}`)],
	[
		"a kind",
		(f) => (f.items[0].kind = "tensr"),
		['items.0.kind: there is no kind "tensr"; did you mean tensor?'],
	],
	[
		"a kind of template",
		(f) => (f.items[0].make = { kind: "transpose" }),
		[
			'items.0.make.kind: there is no kind "transpose"; there are: slice, permute, reshape, concat, stack, fill, cast',
		],
	],
	[
		"no kind",
		(f) => (f.items[0].make = {}),
		["items.0.make: kind is missing; kinds: slice, permute, reshape, concat, stack, fill, cast"],
	],
	[
		"a number as a template",
		(f) => (f.items[0].make = 7),
		[
			"items.0.make: expected a template: the name of a source, or an object with a kind (slice, permute, reshape, concat, stack, fill, cast), got 7",
		],
	],
	[
		"text as an item",
		(f) => (f.items[0] = "x"),
		[
			'items.0: expected an item: an object with a kind (tensor, each, oneOf, under, when), got "x"',
		],
	],
	[
		"a list as an item",
		(f) => (f.items[1].items[0] = 1),
		[
			"items.1.items.0: expected an item: an object with a kind (tensor, each, oneOf, under, when), got 1",
		],
	],
	[
		"a dtype",
		(f) => (f.items[2].items[0].items[0].make.parts[1].dtype = "f32"),
		[
			'items.2.items.0.items.0.make.parts.1.dtype: expected one of float64, float32, float16, bfloat16, int64, int32, int16, int8, uint64, uint32, uint16, uint8, bool, complex64, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu, got "f32"',
		],
	],
	[
		"the feature",
		(f) => (f.items[2].items[0].feature = "vision"),
		['items.2.items.0.feature: expected the name of a feature: "mtp", got "vision"'],
	],
	["a layout", (f) => (f.layout = "ddp"), ['layout: expected "torchtitan" or "fsdp", got "ddp"']],
	[
		"the name",
		(f) => (f.name = "a/b"),
		['name: "a/b": a name is letters, digits, and . _ - between them'],
	],
	[
		"a name that is taken",
		(f) => (f.name = "hf"),
		["name: hf is the name of the family of --target hf"],
	],
	[
		"a hole that nothing binds",
		(f) => (f.items[0].make = "l.{layer}"),
		['items.0.make: "l.{layer}": nothing binds {layer}; holes here: none'],
	],
	[
		"another hole",
		(f) => (f.items[1].items[0].choices[0][0].make = "l.{expert}"),
		[`${LAYER}.0.0.make: "l.{expert}": nothing binds {expert}; holes here: {layer}, {next}`],
	],
	[
		"a hole in capitals",
		(f) => (f.items[0].make = "l.{Layer}"),
		[
			'items.0.make: "l.{Layer}": a hole is lower-case letters in braces, such as {layer}; there is no other use for braces',
		],
	],
	[
		"a brace",
		(f) => (f.drops[0].pattern = "x.{layer}.{"),
		[
			'drops.0.pattern: "x.{layer}.{": a hole is lower-case letters in braces, such as {layer}; there is no other use for braces',
		],
	],
	[
		"a star",
		(f) => (f.items[0].make = "l.*"),
		['items.0.make: "l.*": only patterns of drops may have *'],
	],
	[
		"a hole that is bound already",
		(f) => (f.items[1].also.layer = 1),
		["items.1.also.layer: {layer} is bound already; give this one another name"],
	],
	[
		"a hole with the name of a number",
		(f) => (f.items[1].also = { hidden: 1, next: 1 }),
		["items.1.also.hidden: hidden is the name of a number already; give the hole another name"],
	],
	[
		"a stack of one source",
		(f) => (f.items[1].items[0].choices[1][0].make.of = "l.{layer}"),
		[`${LAYER}.1.0.make.of: nothing in it has the hole {expert}, so that all parts are the same`],
	],
	[
		"a target without the loop's hole",
		(f) => (f.items[1].items[0].choices[0][0].target = "l.w"),
		[
			`${LAYER}.0.0.target: "l.w" has no {layer}, so that every round of the loop makes the same tensor`,
		],
	],
	[
		"a number that is not defined",
		(f) => (f.items[0].shape[0] = "hiden * 2"),
		['items.0.shape.0: "hiden * 2": there is no number hiden; did you mean hidden?'],
	],
	[
		"a number that is none",
		(f) => (f.items[0].shape[0] = "hidden - 1"),
		['items.0.shape.0: "hidden - 1": "hidden - 1" is neither a whole number nor a name'],
	],
	[
		"half a number",
		(f) => (f.items[0].shape[0] = "2 *"),
		['items.0.shape.0: "2 *": something is missing beside +, * or /'],
	],
	[
		"a fraction",
		(f) => (f.items[0].shape[0] = 1.5),
		[
			'items.0.shape.0: expected a number: a whole number, or text such as "heads * head_dim" of names, whole numbers, +, * and /, got 1.5',
		],
	],
	[
		"a number that follows from itself",
		(f) => (f.numbers.heads.default = "2 * kv_heads"),
		[
			"numbers.heads.default: heads follows from itself",
			"numbers.kv_heads.default: kv_heads follows from itself",
		],
	],
	[
		"a number without a value",
		(f) => (f.numbers.hidden.keys = []),
		["numbers.hidden.keys: no key and no default: it can never have a value"],
	],
	[
		"a number that torchtitan needs",
		(f) => delete f.numbers.kv_heads,
		["numbers: there must be a number called kv_heads"],
	],
	[
		"heads that are no number",
		(f) => (f.otherHeads = { vision: "heads of the vision encoder" }),
		[
			"otherHeads.vision: there is no number vision; there are: layers, heads, kv_heads, hidden, extra",
		],
	],
	[
		"the minimum",
		(f) => (f.numbers.extra.minimum = 2),
		["numbers.extra.minimum: expected 0 or 1, got 2"],
	],
	[
		"a prefix twice",
		(f) => (f.prefixes = ["", ""]),
		["prefixes.1: is never taken: it is the same as prefix 0"],
	],
	[
		"no prefix",
		(f) => (f.prefixes = []),
		['prefixes: expected at least one prefix; "" where source names have none, got a list'],
	],
	[
		"a prefix with a hole",
		(f) => (f.items[2].prefixes = ["v.{layer}."]),
		['items.2.prefixes.0: "v.{layer}.": a prefix is plain text, without holes and *'],
	],
	[
		"a choice twice",
		(f) => f.items[1].items[0].choices.push([]),
		[`${LAYER}.3: is never taken: it is the same as choice 2`],
	],
	[
		"a target twice",
		(f) => f.items.push(f.items[0]),
		["items.3.target: is made already, by items[0]"],
	],
	[
		"a target of a choice and of the list around it",
		(f) => f.items[1].items.push(f.items[1].items[0].choices[1][0]),
		["items.1.items.1.target: is made already, by items[1].items[0].choices[0][0]"],
	],
	[
		"an order of axes",
		(f) => (f.items[0].tied.axes = [0, 0]),
		["items.0.tied.axes: [0, 0] is no order of axes: each of 0 to 1 once"],
	],
	[
		"too many axes",
		(f) => (f.items[0].tied.axes = [0, 2, 1]),
		["items.0.tied.axes: has 3 dimensions, but the value must have 2"],
	],
	[
		"an axis",
		(f) => (f.items[1].items[0].choices[1][0].make.axis = 2),
		[`${LAYER}.1.0.make.axis: there is no axis 2: the value has 2 dimensions`],
	],
	[
		"a slice of nothing",
		(f) => (f.items[2].items[0].items[0].make.parts[0].end = 0),
		["items.2.items.0.items.0.make.parts.0.end: from 0 up to but not including 0 is nothing"],
	],
	[
		"a drop of everything",
		(f) => f.drops.push({ pattern: "*", reason: "no" }),
		["drops.1.pattern: drops everything: name what is not needed, so that the rest is proven"],
	],
	[
		"a drop twice",
		(f) => f.drops.push(f.drops[0]),
		["drops.1.pattern: is never asked: it is the same as drops[0]"],
	],
	[
		"a range of a hole that is not there",
		(f) => (f.drops[0].where = { layr: [0, 1] }),
		["drops.0.where.layr: the pattern has no hole {layr}; did you mean layer?"],
	],
];

describe("families that are not", () => {
	test.each(BROKEN)("%s", (_, change, expected) => {
		expect(issuesAfter(change)).toEqual(expected);
	});

	test("all of it at once", () => {
		const all = issuesAfter((family) => {
			family.drop = 1;
			family.items[0].make = "l.{x}";
			family.items[0].shape[0] = "hiden";
			family.drops[0].reason = "";
			delete family.items[2].prefixes;
		});
		expect(all).toHaveLength(5);
	});

	test.each([undefined, null, 5, "text", [], () => 1])("%s is no family", (value) => {
		expect(parseFamily(value).issues?.length).toBeGreaterThan(0);
	});

	test("one that contains itself", () => {
		const family = copy();
		family.items[1].items.push(family.items[1]);
		expect(parseFamily(family).issues?.[0]?.message).toBe("is nested too deep, or contains itself");
	});

	test("defineFamily throws all of it", () => {
		const family: Family = { ...defineFamily(SOUND), name: "a b", prefixes: ["*"] };
		try {
			defineFamily(family);
			expect.unreachable();
		} catch (error) {
			if (!isHfStreamDcpError(error, "FAMILY_INVALID")) throw error;
			expect(error.message.split("\n")).toEqual([
				"the family cannot be used, in 2 places:",
				'  name: "a b": a name is letters, digits, and . _ - between them',
				'  prefixes[0]: "*": a prefix is plain text, without holes and *',
			]);
			expect(error.facts["issues"]).toHaveLength(2);
		}
	});
});

/** What is wrong with a text, line by line, without the heading. */
function linesOf(text: string): readonly string[] {
	try {
		parseFamilyText(text, "my.json");
	} catch (error) {
		if (!isHfStreamDcpError(error, "FAMILY_INVALID")) throw error;
		return error.message.split("\n").slice(1);
	}
	return [];
}

const TEXT = `{
	// Comments are allowed, and so are trailing commas.
	"$schema": "./family.schema.json",
	"name": "mine",
	"layout": "fsdp",
	"numbers": { "layers": { "keys": ["num_hidden_layers"] } },
	"items": [
		{
			"kind": "tensor",
			"target": "a",
			"shape": [4, 2],
			"make": { "kind": "permute", "axes": [1, 0], "of": "a" },
		},
	],
}`;

describe("a text", () => {
	test("is read with comments, a byte order mark, and what editors want", () => {
		const { $schema, ...family } = parseFamilyText(`\uFEFF${TEXT}`, "my.json") as Family & {
			readonly $schema?: unknown;
		};
		expect($schema).toBeUndefined();
		expect(family).toMatchObject({ name: "mine", layout: "fsdp", drops: [], prefixes: [""] });
	});

	test("points at values, at keys, and at the object that lacks one, in the order of the text", () => {
		const text = TEXT.replace('"axes": [1, 0]', '"axis": [1, 0]')
			.replace('"target": "a"', '"target": "a{"')
			.replace('"fsdp"', '"ddp"')
			.replace('"layers"', '"layer"');
		expect(linesOf(text)).toEqual([
			'  my.json:5:12: layout: expected "torchtitan" or "fsdp", got "ddp"',
			"  my.json:6:13: numbers: there must be a number called layers",
			"  my.json:6:13: numbers: there must be a number called heads",
			"  my.json:6:13: numbers: there must be a number called kv_heads",
			'  my.json:10:14: items[0].target: "a{": a hole is lower-case letters in braces, such as {layer}; there is no other use for braces',
			"  my.json:12:12: items[0].make: axes is missing",
			"  my.json:12:33: items[0].make.axis: there is no key axis here; did you mean axes?",
		]);
	});

	test("with a key twice", () => {
		const text = TEXT.replace('"name": "mine",', '"name": "mine",\n\t"name": "yours",');
		expect(linesOf(text)).toEqual(["  my.json:5:2: name: the object has this key already"]);
	});

	test.each([
		["", "  my.json:1:1: no JSON: value expected"],
		["{", "  my.json:1:2: no JSON: close brace expected"],
		['{ "name": "x"\n\t"items": [] }', "  my.json:2:2: no JSON: comma expected"],
		["[]", "  my.json:1:1: expected an object, got a list"],
	])("%j is refused", (text, line) => {
		expect(linesOf(text)[0]).toBe(line);
	});
});
