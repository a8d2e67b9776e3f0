import { tensor, type TensorRule } from "./family.ts";
import type { NumberText } from "./numbers.ts";
import type { Pattern } from "./pattern.ts";
import type { Template } from "./template.ts";

/*
 * Modules with a weight and a bias, as vision encoders and diffusion models have them.
 */

/** Weight `[rows, columns]` and bias `[rows]` of a linear layer. `of` says what is done to the rows of both. */
export function linear(
	to: Pattern,
	from: Pattern,
	[rows, columns]: readonly [rows: NumberText, columns: NumberText],
	of: (source: Pattern, columns: readonly NumberText[]) => Template = (source) => source,
): readonly TensorRule[] {
	return [
		tensor(`${to}.weight`, [rows, columns], of(`${from}.weight`, [columns])),
		tensor(`${to}.bias`, [rows], of(`${from}.bias`, [])),
	];
}

/** Weight and bias of a layer norm. */
export function layerNorm(to: Pattern, from: Pattern, size: NumberText): readonly TensorRule[] {
	return ["weight", "bias"].map((name) => tensor(`${to}.${name}`, [size], `${from}.${name}`));
}
