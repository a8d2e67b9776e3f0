import type { NumberRule, NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import type { Template } from "./template.ts";

/**
 * One model architecture as data: how the tensors of its Hugging Face export become those of the trainer. Everything in it is
 * JSON. Target keys are the newest torchtitan names; key profiles spell them as older releases do.
 */
export interface Family {
	readonly name: string;
	/** For `--help`. */
	readonly summary: string;
	/** `model_type`s of `config.json` that choose this family. */
	readonly modelTypes: readonly string[];
	/** `architectures` of `config.json` that choose this family when `model_type` is missing or unknown. */
	readonly architectures: readonly string[];
	/** Key of `config.json` that holds the text model's part, when the export has one: `text_config`. */
	readonly configKey?: string | undefined;
	/**
	 * What targets there are. `torchtitan`: those of `--target torchtitan…`; keys are the newest torchtitan names, and its rules cut
	 * them. `fsdp`: the one target `own`, whose keys are the family's and of which FSDP2 cuts dimension 0, unless the command gives
	 * another layout. @default "torchtitan"
	 */
	readonly layout?: "torchtitan" | "fsdp" | undefined;
	/**
	 * What source names may begin with before the rules' patterns. The one under which most rules find a tensor is taken. An
	 * {@link UnderItem} has its own.
	 */
	readonly prefixes: readonly string[];
	/**
	 * Numbers that rules may use. `layers`, `heads` and `kv_heads` are required, `experts` is looked up; profiles use
	 * `hidden` and `head_dim` too.
	 */
	readonly numbers: { readonly [name: string]: NumberRule };
	/**
	 * Whether the trainer's model has an embedding and a head of its own even where the export ties them. Both are stored either way;
	 * but only what is one parameter must lie on one pipeline stage. @default false
	 */
	readonly unties?: boolean | undefined;
	/**
	 * Numbers besides `heads` and `kv_heads` that count heads which tensor parallelism deals out, and what they are, for people:
	 * `{"vision_heads": "attention heads of the vision encoder"}`. Those that `config.json` does not say are not looked at.
	 */
	readonly otherHeads?: { readonly [number: string]: string } | undefined;
	/** In the order of the trainer's state dict. */
	readonly items: readonly FamilyItem[];
	/** Source tensors that the trainer has no use for, unless a rule takes them. Their patterns have no prefix. */
	readonly drops: readonly DropRule[];
}

/** Part of a family's list of target tensors. */
export type FamilyItem = TensorRule | EachItem | OneOfItem | UnderItem | WhenItem;

/** How one target tensor is made. */
export interface TensorRule {
	readonly kind: "tensor";
	readonly target: Pattern;
	/** What its shape must be by `config.json`. */
	readonly shape: readonly NumberText[];
	readonly make: Template;
	/**
	 * Used instead of `make` when `config.json` ties the embeddings and the source lacks the tensors of `make`.
	 *
	 * A source that ties them and has both all the same is taken at its word: each tensor is stored where it belongs, as
	 * torchtitan's own adapter does. They are equal in every sound export; where they are not, dropping one would be a guess.
	 */
	readonly tied?: Template | undefined;
	/** A dtype the loader demands; `--dtype` leaves it alone. @default false */
	readonly keepDtype?: boolean | undefined;
}

/** `items` for every value 0 ≤ `hole` < `count`. */
export interface EachItem {
	readonly kind: "each";
	readonly hole: string;
	readonly count: NumberText;
	/** More holes, computed of it, of the holes around it and of numbers: `{"layer": "layers + mtp"}`. */
	readonly also?: { readonly [hole: string]: NumberText } | undefined;
	readonly items: readonly FamilyItem[];
}

/**
 * Exactly one of several lists: the one of whose source tensors most kinds are there, by name. Where several have as many, as when
 * an export may be written transposed, it is the first of them whose shapes fit. Layers that may be dense or routed, and exports
 * that may be written in more than one way. A choice that needs no source tensor, the empty one among them, is taken when nothing
 * of the others is there: a constant in place of what an export may lack, or a part that a model may lack.
 */
export interface OneOfItem {
	readonly kind: "oneOf";
	readonly choices: readonly (readonly FamilyItem[])[];
}

/** Items whose sources have a prefix of their own in place of the family's; chosen like {@link Family.prefixes}. */
export interface UnderItem {
	readonly kind: "under";
	readonly prefixes: readonly string[];
	readonly items: readonly FamilyItem[];
}

/** Parts of a model that its trainer makes only if asked to: `--target torchtitan+mtp`. */
export type Feature = "mtp";

/** Items of a target that has a feature. Without it their source tensors need a {@link DropRule}. */
export interface WhenItem {
	readonly kind: "when";
	readonly feature: Feature;
	readonly items: readonly FamilyItem[];
}

/** Leaves source tensors out. */
export interface DropRule {
	readonly pattern: Pattern;
	/** Only where these holes of `pattern` lie between two numbers, half-open: `{"layer": ["layers", "layers + mtp_layers"]}`. */
	readonly where?: { readonly [hole: string]: readonly [NumberText, NumberText] } | undefined;
	/** Not for a target that has this feature. */
	readonly unless?: Feature | undefined;
	/** For people: `vision tensors are not part of the text model`. */
	readonly reason: string;
}

/** A {@link TensorRule}. */
export function tensor(
	target: Pattern,
	shape: readonly NumberText[],
	make: Template,
	options: { readonly tied?: Template; readonly keepDtype?: boolean } = {},
): TensorRule {
	return { kind: "tensor", target, shape, make, ...options };
}

/** An {@link EachItem} over the layers. */
export function eachLayer(...items: readonly FamilyItem[]): EachItem {
	return { kind: "each", hole: "layer", count: "layers", items };
}

/** An {@link EachItem}. */
export function each(
	hole: string,
	count: NumberText,
	items: readonly FamilyItem[],
	also?: EachItem["also"],
): EachItem {
	return { kind: "each", hole, count, ...(also && { also }), items };
}

/** An {@link UnderItem}. */
export function under(prefixes: readonly string[], ...items: readonly FamilyItem[]): UnderItem {
	return { kind: "under", prefixes, items };
}

/** A {@link WhenItem}. */
export function when(feature: Feature, ...items: readonly FamilyItem[]): WhenItem {
	return { kind: "when", feature, items };
}

/** A {@link OneOfItem}. */
export function oneOf(...choices: readonly (readonly FamilyItem[])[]): OneOfItem {
	return { kind: "oneOf", choices };
}
