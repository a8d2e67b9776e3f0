import { dequantFp8Block, dequantMxfp4 } from "../../core/dequant.ts";
import { HfStreamDcpError } from "../../core/errors.ts";
import { cast, type Expr, permute, type SourceExpr } from "../../core/expr.ts";
import type { DequantDtype } from "../../core/quantisation.ts";
import { formatShape } from "../../core/shape.ts";
import type { SourceTensor } from "../../core/source.ts";

/** How a quantised weight and its scales lie in the files, and what they make. */
export interface QuantScheme {
	/** For messages. */
	readonly title: string;
	readonly isWeight: (tensor: SourceTensor) => boolean;
	readonly isScales: (tensor: SourceTensor) => boolean;
	/** The name that the weight has where it is not quantised. */
	readonly logicalOf: (weight: string) => string;
	readonly scalesOf: (weight: string) => string;
	readonly weightOf: (scales: string) => string;
	/** @throws {HfStreamDcpError} `RECIPE_INVALID` when the shapes or dtypes do not fit. */
	readonly build: (weight: SourceExpr, scales: SourceExpr, dtype: DequantDtype) => Expr;
}

const SCALE_INV = "_scale_inv";

/**
 * FP8 in blocks: `X` beside `X_scale_inv`, where `X` is most often `….weight`. Of experts in one tensor
 * `[experts, rows, columns]`, each has blocks of its own.
 *
 * @param block - Rows and columns under one scale.
 * @see transformers 5.23 `integrations/finegrained_fp8.py`, `Fp8Quantize`, `FP8Experts`; DeepSeek-V3 `inference/fp8_cast_bf16.py`.
 */
export function fp8Scheme(block: readonly [rows: number, columns: number]): QuantScheme {
	return {
		title: "FP8 weights",
		isWeight: ({ dtype }) => dtype.startsWith("float8_e4m3") || dtype.startsWith("float8_e5m2"),
		isScales: ({ name }) => name.endsWith(SCALE_INV),
		logicalOf: (weight) => weight,
		scalesOf: (weight) => `${weight}${SCALE_INV}`,
		weightOf: (scales) => scales.slice(0, -SCALE_INV.length),
		build: (weight, scales, dtype) => {
			const leading = weight.shape.slice(2).map(() => 1);
			return cast(dequantFp8Block(weight, scales, [...leading, ...block]), dtype);
		},
	};
}

const BLOCKS = "_blocks";
const SCALES = "_scales";

/**
 * MXFP4 as gpt-oss has it: `X_blocks` `[experts, rows, groups, 16]` beside `X_scales` `[experts, rows, groups]`. Where it is not
 * quantised, `X` is `[experts, columns, rows]`: transposed.
 *
 * @see transformers 5.23 `integrations/mxfp4.py`, `convert_moe_packed_tensors`, which transposes last.
 */
export const MXFP4_SCHEME: QuantScheme = {
	title: "MXFP4 weights",
	isWeight: ({ name, dtype }) => dtype === "uint8" && name.endsWith(BLOCKS),
	isScales: ({ name, dtype }) => dtype === "uint8" && name.endsWith(SCALES),
	logicalOf: (weight) => weight.slice(0, -BLOCKS.length),
	scalesOf: (weight) => `${weight.slice(0, -BLOCKS.length)}${SCALES}`,
	weightOf: (scales) => `${scales.slice(0, -SCALES.length)}${BLOCKS}`,
	build: (weight, scales, dtype) => {
		const value = cast(dequantMxfp4(weight, scales), dtype);
		if (value.shape.length === 3) return permute(value, [0, 2, 1]);
		throw new HfStreamDcpError(
			"RECIPE_INVALID",
			`${weight.name} is ${formatShape(weight.shape)}, not [experts, rows, groups, 16]`,
		);
	},
};
