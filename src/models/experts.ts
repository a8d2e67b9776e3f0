import { type FamilyItem, tensor } from "./family.ts";
import type { NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import { slice, stackExperts, transposeInner, ZERO_EXPERT_BIAS } from "./relayouts.ts";
import type { Template } from "./template.ts";

/*
 * The three forms in which exports hold routed experts; `from` is what their names begin with: `model.layers.{layer}.mlp.experts`, and
 * `to` what the keys begin with, where it is not a layer's as usual.
 * torchtitan has `w1`, the gate, and `w3`, up, as `[experts, inner, hidden]`, and `w2`, down, as `[experts, hidden, inner]`.
 */

const EXPERTS = "layers.{layer}.moe.routed_experts.inner_experts";

/** What is added to the scores of the router: a buffer that no export has. */
export const EXPERT_BIAS: FamilyItem = tensor(
	"layers.{layer}.moe.expert_bias_E",
	["experts"],
	ZERO_EXPERT_BIAS,
	{ keepDtype: true },
);

/** Routed experts, in one of their forms, with the router before them; `mlp` is what its name begins with: `model.layers.{layer}.mlp`. */
export function routed(mlp: Pattern, own: readonly FamilyItem[]): readonly FamilyItem[] {
	return [
		EXPERT_BIAS,
		...own,
		tensor("layers.{layer}.moe.router.gate.weight", ["experts", "hidden"], `${mlp}.gate.weight`),
	];
}

function experts(
	to: Pattern,
	inner: NumberText,
	gate: Template,
	down: Template,
	up: Template,
): FamilyItem[] {
	return [
		tensor(`${to}.w1_EFD`, ["experts", inner, "hidden"], gate),
		tensor(`${to}.w2_EDF`, ["experts", "hidden", inner], down),
		tensor(`${to}.w3_EFD`, ["experts", inner, "hidden"], up),
	];
}

/** One matrix per expert: what transformers writes of most families, and what the Hub has of Qwen 3. */
export function separateExperts(
	from: Pattern,
	inner: NumberText,
	to: Pattern = EXPERTS,
): readonly FamilyItem[] {
	return experts(
		to,
		inner,
		stackExperts(`${from}.{expert}.gate_proj.weight`),
		stackExperts(`${from}.{expert}.down_proj.weight`),
		stackExperts(`${from}.{expert}.up_proj.weight`),
	);
}

/**
 * All experts in one tensor `[experts, 2 · inner, hidden]`, gate rows before up rows: the form the module holds since
 * transformers 5, which `save_pretrained(save_original_format=False)` writes, and every save of a model loaded from such a file.
 */
export function fusedExperts(
	from: Pattern,
	inner: NumberText,
	to: Pattern = EXPERTS,
): readonly FamilyItem[] {
	return experts(
		to,
		inner,
		slice(`${from}.gate_up_proj`, 1, 0, inner),
		`${from}.down_proj`,
		slice(`${from}.gate_up_proj`, 1, inner, `2 * ${inner}`),
	);
}

/** All experts in one tensor `[experts, hidden, 2 · inner]`, gate columns before up columns: how transformers 4 held them. */
export function transposedExperts(from: Pattern, inner: NumberText): readonly FamilyItem[] {
	return experts(
		EXPERTS,
		inner,
		transposeInner(slice(`${from}.gate_up_proj`, 2, 0, inner)),
		transposeInner(`${from}.down_proj`),
		transposeInner(slice(`${from}.gate_up_proj`, 2, inner, `2 * ${inner}`)),
	);
}
