/** A family as `family show` prints it. */
export type FamilyJson = { readonly [key: string]: unknown };

/** A rule of such a family. */
interface Rule {
	readonly target: string;
	readonly make: unknown;
}

/** A mistake that fits every shape and uses every element once: nothing but a forward pass can tell it from the right map. */
export interface BrokenFamily {
	readonly what: string;
	readonly family: string;
	/** A model of `tiny_models.py`. */
	readonly model: string;
	readonly spoil: (rule: Rule) => Rule;
}

/** Mistakes that converters of others have shipped, or nearly. */
export const BROKEN_FAMILIES: readonly BrokenFamily[] = [
	{
		what: "queries and keys keep the order that Hugging Face's rotary embedding wants",
		family: "llama3",
		model: "llama3",
		spoil: (rule) =>
			/\.w[qk]\.weight$/.test(rule.target) ? { ...rule, make: innermost(rule.make) } : rule,
	},
	{
		what: "queries and keys are reordered backwards",
		family: "llama3",
		model: "llama3",
		spoil: (rule) => ({ ...rule, make: reversed(rule.make) }),
	},
	{
		what: "gate and up are exchanged",
		family: "llama3",
		model: "llama3",
		spoil: ({ target, make }) => rename(target, make, /\.w1\.weight$/, ".w3.weight"),
	},
	{
		what: "gates and ups of experts are exchanged",
		family: "qwen3",
		model: "qwen3_moe",
		spoil: ({ target, make }) => rename(target, make, /\.w1_EFD$/, ".w3_EFD"),
	},
	{
		what: "the norms before attention and before the feed-forward network are exchanged",
		family: "qwen3",
		model: "qwen3",
		spoil: ({ target, make }) => rename(target, make, /\.attention_norm\./, ".ffn_norm."),
	},
];

/** `family` with `spoil` applied to every rule. */
export function spoilFamily(
	family: FamilyJson,
	{ spoil }: Pick<BrokenFamily, "spoil">,
): FamilyJson {
	const walk = (value: unknown): unknown => {
		if (Array.isArray(value)) return value.map(walk);
		if (typeof value !== "object" || value === null) return value;
		if ("kind" in value && value.kind === "tensor") return { ...value, ...spoil(value as never) };
		return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
	};
	return walk(family) as FamilyJson;
}

/** What fits `from` gets the name that `to` makes of it, and what has that name gets the other. */
function rename(target: string, make: unknown, from: RegExp, to: string): Rule {
	if (from.test(target)) return { target: target.replace(from, to), make };
	if (!target.includes(to)) return { target, make };
	return { target: target.replace(to, from.source.replaceAll(/[\\$]/g, "")), make };
}

function innermost(make: unknown): unknown {
	return typeof make === "object" && make !== null && "of" in make ? innermost(make.of) : make;
}

/** The reshape of heads with its halves and pairs in the other order. */
function reversed(make: unknown): unknown {
	if (typeof make !== "object" || make === null || !("of" in make)) return make;
	const { shape } = make as { readonly shape?: readonly unknown[] };
	if (shape?.[1] !== 2) return { ...make, of: reversed(make.of) };
	const [heads, two, half, ...columns] = shape;
	return { ...make, shape: [heads, half, two, ...columns] };
}
