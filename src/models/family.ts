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
	/** What source names may begin with before the rules' patterns. The one under which most rules find a tensor is taken. */
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
	/** In the order of the trainer's state dict. */
	readonly items: readonly FamilyItem[];
	/** Source tensors that the trainer has no use for, unless a rule takes them. */
	readonly drops: readonly DropRule[];
}

/** Part of a family's list of target tensors. */
export type FamilyItem = TensorRule | EachItem | OneOfItem;

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
	readonly items: readonly FamilyItem[];
}

/**
 * Exactly one of several lists: the one whose source tensors are there, by name. Where several have as many, as when an export
 * may be written transposed, it is the first of them whose shapes fit. Layers that may be dense or routed, and exports that may be
 * written in more than one way.
 */
export interface OneOfItem {
	readonly kind: "oneOf";
	readonly choices: readonly (readonly FamilyItem[])[];
}

/** Leaves source tensors out. */
export interface DropRule {
	readonly pattern: Pattern;
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

/** A {@link OneOfItem}. */
export function oneOf(...choices: readonly (readonly FamilyItem[])[]): OneOfItem {
	return { kind: "oneOf", choices };
}
