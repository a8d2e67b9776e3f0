import * as v from "valibot";
import { DTYPES, type Dtype } from "../../core/dtype.ts";
import type { DropRule, Family, FamilyItem } from "../family.ts";
import type { NumberRule } from "../numbers.ts";
import type { Template } from "../template.ts";
import type { Different, Entries, Kinds } from "./agreement.ts";

/*
 * The shape of a family as a schema, key by key. What a key means, and what must hold between keys, the checks beside this file
 * know. The types at its end make the compiler compare it with the types of the families: a key, a kind or a value that one of them
 * has and the other lacks does not compile.
 */

/** The nodes of a template: all of it but the bare names of sources. */
type TemplateNode = Exclude<Template, string>;

const text = (what: string) => v.pipe(v.string(`expected ${what}`), v.nonEmpty(`expected ${what}`));

const pattern = text('a name with holes, such as "layers.{layer}.weight"');

const plainText = v.string("expected text");

const AXIS_MESSAGE = "expected an axis: a whole number, counted from 0";
const axis = v.pipe(v.number(AXIS_MESSAGE), v.integer(AXIS_MESSAGE), v.minValue(0, AXIS_MESSAGE));

const NUMBER_MESSAGE =
	'expected a number: a whole number, or text such as "heads * head_dim" of names, whole numbers, +, * and /';
const numberText = v.union(
	[
		v.pipe(
			v.number(),
			v.integer(NUMBER_MESSAGE),
			v.minValue(0, NUMBER_MESSAGE),
			v.maxValue(Number.MAX_SAFE_INTEGER, NUMBER_MESSAGE),
		),
		v.pipe(v.string(), v.nonEmpty(NUMBER_MESSAGE)),
	],
	NUMBER_MESSAGE,
);

const SHAPE_MESSAGE = "expected a shape: a list of numbers, outermost first";
const shape = v.pipe(v.array(numberText, SHAPE_MESSAGE), v.readonly());

const LIST_MESSAGE = "expected a list";
const texts = v.pipe(v.array(plainText, "expected a list of texts"), v.readonly());

const ALL_DTYPES = Object.keys(DTYPES) as Dtype[];
const dtype = v.picklist(ALL_DTYPES, `expected one of ${ALL_DTYPES.join(", ")}`);

const hole = text("the name of a hole");

const feature = v.picklist(["mtp"], 'expected the name of a feature: "mtp"');

/** Any template: the name of a source, or a node. Which of them it is, the value tells, so that what is wrong with a node is said of it. */
const template: v.GenericSchema<Template> = v.lazy((input) =>
	typeof input === "string" ? pattern : templateNode,
);

/** Keys of the template nodes, by kind. */
const TEMPLATE_ENTRIES = {
	slice: { kind: v.literal("slice"), axis, start: numberText, end: numberText, of: template },
	permute: {
		kind: v.literal("permute"),
		axes: v.pipe(v.array(axis, "expected a list of axes"), v.readonly()),
		of: template,
	},
	reshape: { kind: v.literal("reshape"), shape, of: template },
	concat: {
		kind: v.literal("concat"),
		axis,
		parts: v.pipe(
			v.array(template, "expected a list of templates"),
			v.nonEmpty("expected at least one part"),
			v.readonly(),
		),
	},
	stack: { kind: v.literal("stack"), axis, over: hole, count: numberText, of: template },
	fill: { kind: v.literal("fill"), shape, value: v.number("expected a number"), dtype },
	cast: { kind: v.literal("cast"), dtype, of: template },
} as const satisfies {
	readonly [K in TemplateNode["kind"]]: Entries<Extract<TemplateNode, { kind: K }>>;
};

const templateNode: v.GenericSchema<TemplateNode> = v.variant("kind", [
	v.strictObject(TEMPLATE_ENTRIES.slice),
	v.strictObject(TEMPLATE_ENTRIES.permute),
	v.strictObject(TEMPLATE_ENTRIES.reshape),
	v.strictObject(TEMPLATE_ENTRIES.concat),
	v.strictObject(TEMPLATE_ENTRIES.stack),
	v.strictObject(TEMPLATE_ENTRIES.fill),
	v.strictObject(TEMPLATE_ENTRIES.cast),
]);

/** Any item of a family. */
const item: v.GenericSchema<FamilyItem> = v.lazy(() => itemNode);

const items = v.pipe(v.array(item, "expected a list of items"), v.readonly());

const prefixes = v.pipe(
	texts,
	v.nonEmpty('expected at least one prefix; "" where source names have none'),
);

/** Keys of a family's items, by kind. */
const ITEM_ENTRIES = {
	tensor: {
		kind: v.literal("tensor"),
		target: pattern,
		shape,
		make: template,
		tied: v.optional(template),
		keepDtype: v.optional(v.boolean("expected true or false")),
	},
	each: {
		kind: v.literal("each"),
		hole,
		count: numberText,
		also: v.optional(
			v.pipe(v.record(v.string(), numberText, "expected holes and what they are"), v.readonly()),
		),
		items,
	},
	oneOf: {
		kind: v.literal("oneOf"),
		choices: v.pipe(
			v.array(items, "expected a list of lists of items"),
			v.nonEmpty("expected at least one choice"),
			v.readonly(),
		),
	},
	under: { kind: v.literal("under"), prefixes, items },
	when: {
		kind: v.literal("when"),
		feature,
		items,
	},
} as const satisfies {
	readonly [K in FamilyItem["kind"]]: Entries<Extract<FamilyItem, { kind: K }>>;
};

const itemNode: v.GenericSchema<FamilyItem> = v.variant("kind", [
	v.strictObject(ITEM_ENTRIES.tensor),
	v.strictObject(ITEM_ENTRIES.each),
	v.strictObject(ITEM_ENTRIES.oneOf),
	v.strictObject(ITEM_ENTRIES.under),
	v.strictObject(ITEM_ENTRIES.when),
]);

/** Keys of a number. */
const NUMBER_ENTRIES = {
	keys: texts,
	default: v.optional(numberText),
	minimum: v.optional(v.picklist([0, 1], "expected 0 or 1")),
} as const satisfies Entries<NumberRule>;

const RANGE_MESSAGE = 'expected two numbers, half-open: ["layers", "layers + 1"]';

/** Keys of a drop. */
const DROP_ENTRIES = {
	pattern,
	where: v.optional(
		v.pipe(
			v.record(
				v.string(),
				v.pipe(v.strictTuple([numberText, numberText], RANGE_MESSAGE), v.readonly()),
				"expected holes and their ranges",
			),
			v.readonly(),
		),
	),
	unless: v.optional(feature),
	reason: text("a reason, for people"),
} as const satisfies Entries<DropRule>;

/** Keys of a family; those that a file may leave out have a default. */
const FAMILY_ENTRIES = {
	name: text("a name"),
	summary: v.optional(plainText, ""),
	modelTypes: v.optional(texts, []),
	architectures: v.optional(texts, []),
	configKey: v.optional(text("a key of config.json")),
	layout: v.optional(v.picklist(["torchtitan", "fsdp"], 'expected "torchtitan" or "fsdp"')),
	prefixes: v.optional(prefixes, [""]),
	numbers: v.pipe(
		v.record(v.string(), v.strictObject(NUMBER_ENTRIES), "expected names and their numbers"),
		v.readonly(),
	),
	unties: v.optional(v.boolean("expected true or false")),
	otherHeads: v.optional(
		v.pipe(
			v.record(v.string(), plainText, "expected names of numbers, and what they count"),
			v.readonly(),
		),
	),
	items: v.pipe(items, v.nonEmpty("expected at least one item")),
	drops: v.optional(v.pipe(v.array(v.strictObject(DROP_ENTRIES), LIST_MESSAGE), v.readonly()), []),
} as const satisfies {
	readonly [K in keyof Required<Family>]: v.GenericSchema<unknown, Family[K]>;
};

/** A family as it is written: what may be left out is. `$schema` is for editors. */
export const writtenFamilySchema: v.GenericSchema<
	unknown,
	Family & { readonly $schema?: unknown }
> = v.strictObject({ $schema: v.optional(plainText), ...FAMILY_ENTRIES }, "expected a family");

/** A whole family. */
export const familySchema: v.GenericSchema<unknown, Family> = v.pipe(
	writtenFamilySchema,
	v.transform(({ $schema: _unused, ...family }): Family => family),
);

/** The schemas that contain themselves, by what a JSON Schema calls them. */
export const RECURSIVE: {
	readonly template: v.GenericSchema<Template>;
	readonly templateNode: v.GenericSchema<TemplateNode>;
	readonly item: v.GenericSchema<FamilyItem>;
	readonly itemNode: v.GenericSchema<FamilyItem>;
	readonly pattern: v.GenericSchema<string>;
} = { template, templateNode, item, itemNode, pattern };

/** What the schema and the types of families disagree about, table by table. */
interface Differences {
	readonly templates: Kinds<typeof TEMPLATE_ENTRIES, TemplateNode>;
	readonly items: Kinds<typeof ITEM_ENTRIES, FamilyItem>;
	readonly numbers: Different<typeof NUMBER_ENTRIES, NumberRule>;
	readonly drops: Different<typeof DROP_ENTRIES, DropRule>;
	readonly families: Different<typeof FAMILY_ENTRIES, Family>;
}

/** Empty, and compiles only as long as schema and types agree. */
export const DIFFERENCES: readonly never[] = [] as readonly Differences[keyof Differences][];

/** The keys that an object of a family may have: a template node or an item by its kind, or one of the others by what it is. */
export const KEYS: { readonly [what: string]: readonly string[] } = Object.fromEntries(
	Object.entries({
		...TEMPLATE_ENTRIES,
		...ITEM_ENTRIES,
		number: NUMBER_ENTRIES,
		drop: DROP_ENTRIES,
		family: { $schema: plainText, ...FAMILY_ENTRIES },
	}).map(([what, entries]) => [what, Object.keys(entries)]),
);

/** Kinds of template nodes. */
export const TEMPLATE_KINDS: readonly string[] = Object.keys(TEMPLATE_ENTRIES);

/** Kinds of items. */
export const ITEM_KINDS: readonly string[] = Object.keys(ITEM_ENTRIES);
