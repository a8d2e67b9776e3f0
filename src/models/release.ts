import type { LayoutRules } from "../core/layout.ts";
import type { NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import type { Template } from "./template.ts";

/** How torchtitan's main branch stored and cut a model from one day on: a key profile as data. Everything in it is JSON. */
export interface Release {
	/** The part after `torchtitan@`: a day, or the month whose first day it covers. */
	readonly id: string;
	/** First day, `YYYY-MM-DD`. */
	readonly from: string;
	/** What changed that day, for `--help`. */
	readonly summary: string;
	/** Keys this release renamed; later releases' keys are already undone when they are matched. */
	readonly renames: readonly Rename[];
	/** Families whose models may have layers for multi-token prediction: `+mtp`. */
	readonly mtp: readonly string[];
	/** `undefined`: no model fuses its QKV projections. */
	readonly fusedQkv: FusedQkv | undefined;
	readonly expertThreshold: LayoutRules["expertThreshold"];
	readonly expertTensorParallel: boolean;
}

/** A key before and after a release; holes and `*` carry over. */
export interface Rename {
	readonly before: Pattern;
	readonly after: Pattern;
}

/** What a release does with fused QKV. */
export interface FusedQkv {
	readonly families: readonly string[];
	/** Whether those families fuse without being asked. */
	readonly byDefault: boolean;
	/** Tensors of the checkpoint that are made of several; `separate` when fused models store `wq`, `wk`, `wv` all the same. */
	readonly stored: "separate" | readonly Merge[];
}

/** Several target tensors stored as one. */
export interface Merge {
	readonly target: Pattern;
	readonly shape: readonly NumberText[];
	/** Its sources are target keys, in the newest spelling; they leave the checkpoint. */
	readonly make: Template;
}
