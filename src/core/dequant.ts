import { HfStreamDcpError } from "./errors.ts";
import type { DequantExpr, SourceExpr } from "./expr.ts";
import type { ElementCodec, ScaleCodec } from "./quantisation.ts";
import { at, formatShape, type Shape, shapesEqual } from "./shape.ts";

const SCALE_CODECS: { readonly [dtype: string]: ScaleCodec } = {
	float32: "float32",
	bfloat16: "bfloat16",
	float16: "float16",
	float8_e8m0fnu: "float8_e8m0fnu",
};

/**
 * 8-bit floats times one scale per block: element `[…, i, j]` of the value is `weight[…, i, j] × scales[…, ⌊i / block₀⌋, ⌊j / block₁⌋]`.
 *
 * @param block - Elements under one scale along every axis of `weight`, `[128, 128]`.
 * @see transformers 5.23 `integrations/finegrained_fp8.py`; DeepSeek-V3 `inference/kernel.py`, `weight_dequant`.
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the dtypes or the shapes do not fit.
 */
export function dequantFp8Block(weight: SourceExpr, scales: SourceExpr, block: Shape): DequantExpr {
	const codec = fp8Codec(weight);
	const scaleCodec = SCALE_CODECS[scales.dtype];
	if (scaleCodec === undefined) {
		throw invalid(`${scales.name} is ${scales.dtype}, not a floating-point scale`);
	}
	return checked(weight, scales, weight.shape, { codec, scaleCodec, block });
}

/**
 * MXFP4: 4-bit floats, two to a byte, times a power of two per 32 of them. `blocks` is `[…, groups, 16]` of bytes, `scales`
 * `[…, groups]`; the value is `[…, 32 · groups]`.
 *
 * @see transformers 5.23 `integrations/mxfp4.py`, `convert_moe_packed_tensors`.
 * @throws {HfStreamDcpError} `RECIPE_INVALID` when the dtypes or the shapes do not fit.
 */
export function dequantMxfp4(blocks: SourceExpr, scales: SourceExpr): DequantExpr {
	for (const { name, dtype } of [blocks, scales]) {
		if (dtype !== "uint8") throw invalid(`${name} is ${dtype}, not the bytes of MXFP4`);
	}
	const rank = blocks.shape.length;
	if (rank < 2 || blocks.shape.at(-1) !== MXFP4_BLOCK / 2) {
		throw invalid(`${blocks.name} is ${formatShape(blocks.shape)}, not [… , groups, 16]`);
	}
	const shape = [...blocks.shape.slice(0, -2), at(blocks.shape, rank - 2) * MXFP4_BLOCK];
	const block = shape.map((_, d) => (d === shape.length - 1 ? MXFP4_BLOCK : 1));
	return checked(blocks, scales, shape, {
		codec: "float4_e2m1",
		scaleCodec: "power_of_two",
		block,
	});
}

/** Elements under one scale of MXFP4. */
const MXFP4_BLOCK = 32;

function fp8Codec({ name, dtype }: SourceExpr): ElementCodec {
	if (dtype === "float8_e4m3fn" || dtype === "float8_e5m2") return dtype;
	throw invalid(`${name} is ${dtype}, not an 8-bit float that has scales`);
}

function checked(
	weight: SourceExpr,
	scales: SourceExpr,
	shape: Shape,
	how: Pick<DequantExpr, "codec" | "scaleCodec" | "block">,
): DequantExpr {
	const { block } = how;
	const fits = block.length === shape.length && block.every((size) => size >= 1);
	const wanted = fits ? shape.map((size, d) => Math.ceil(size / at(block, d))) : undefined;
	if (wanted === undefined || !shapesEqual(scales.shape, wanted)) {
		throw invalid(
			`${scales.name} is ${formatShape(scales.shape)}, but ${weight.name} ${formatShape(shape)} has blocks of ${formatShape(block)}`,
		);
	}
	return { kind: "dequant", dtype: "float32", shape, weight, scales, ...how };
}

function invalid(message: string): HfStreamDcpError {
	return new HfStreamDcpError("RECIPE_INVALID", message);
}
