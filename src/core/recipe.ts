import type { Expr } from "./expr.ts";
import type { LayoutRules } from "./layout.ts";
import type { ModelFacts } from "./model-facts.ts";

/** One tensor of the checkpoint and how it is made. */
export interface Recipe {
	/** Its key in the checkpoint, as the chosen key profile spells it. */
	readonly fqn: string;
	readonly expr: Expr;
	/** A dtype the loader demands (`expert_bias_E` is fp32): `--dtype` leaves it alone. */
	readonly keepDtype: boolean;
	/** Whether it stores tensors again that belong to another recipe, because they are tied. @default false */
	readonly isTied?: boolean | undefined;
}

/** What became of one source tensor that is not simply used once. */
export interface SourceNote {
	readonly name: string;
	/** The rule's words: `vision_model.*: vision tensors are not part of the text model`. */
	readonly reason: string;
}

/** A model mapped to a target: every target tensor has a recipe, every source tensor is accounted for. */
export interface ModelMap {
	/** Name of the family: `llama4`. */
	readonly family: string;
	/** Name of the key profile: `torchtitan@2026-06`. */
	readonly target: string;
	readonly facts: ModelFacts;
	/** How the target's release lays its parameters out. */
	readonly rules: LayoutRules;
	/** In the order of the trainer's state dict as far as it is known. */
	readonly recipes: readonly Recipe[];
	/** Source tensors that are stored under more than one key. */
	readonly tied: readonly SourceNote[];
	/** Source tensors left out by a named rule. */
	readonly dropped: readonly SourceNote[];
	/** Target keys that no source has, written as the loader expects them. */
	readonly synthesised: readonly string[];
	/** Source tensors of quantised weights, with what becomes of them. */
	readonly dequantised: readonly SourceNote[];
}
