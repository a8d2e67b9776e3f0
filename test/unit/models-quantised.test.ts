import { describe, expect, test } from "vitest";
import type { Expr } from "../../src/core/expr.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { mapModel, type MapModelOptions } from "../../src/models/map-model.ts";
import { errorOf } from "../support/map-small-model.ts";
import {
	tinyDeepseek,
	tinyGptOss,
	type TinyModel,
	tinySource,
	tinyTensor,
} from "../support/quantised-models.ts";

function map(model: TinyModel, options: Partial<MapModelOptions> = {}): ModelMap {
	return mapModel({ source: tinySource(model), target: "torchtitan", ...options });
}

function exprOf(mapped: ModelMap, key: string): Expr {
	const found = mapped.recipes.find(({ fqn }) => fqn === key);
	if (found === undefined) throw new Error(`no recipe for ${key}`);
	return found.expr;
}

function shapesOf(mapped: ModelMap): Record<string, readonly number[]> {
	return Object.fromEntries(mapped.recipes.map(({ fqn, expr }) => [fqn, expr.shape]));
}

/** `model` with other tensors, or another `quantization_config`. */
function changed(
	model: TinyModel,
	{
		without = [],
		add = [],
		quantization,
	}: {
		readonly without?: readonly string[];
		readonly add?: TinyModel["tensors"];
		readonly quantization?: unknown;
	},
): TinyModel {
	const { quantization_config: before, ...config } = model.config;
	return {
		config:
			quantization === null ? config : { ...config, quantization_config: quantization ?? before },
		tensors: [...model.tensors.filter(({ name }) => !without.includes(name)), ...add],
	};
}

const WQ = "model.layers.1.self_attn.q_a_proj.weight";
const GATE_UP = "model.layers.0.mlp.experts.gate_up_proj";

describe("FP8 blocks", () => {
	test("are the same model as the bf16 export", () => {
		const quantised = map(tinyDeepseek());
		const plain = map(tinyDeepseek({ weights: "bfloat16" }));
		expect(shapesOf(quantised)).toEqual(shapesOf(plain));
		expect(quantised.recipes.map(({ expr }) => expr.dtype)).toEqual(
			plain.recipes.map(({ expr }) => expr.dtype),
		);
	});

	test("are told", () => {
		const { dequantised } = map(tinyDeepseek());
		expect(dequantised).toContainEqual({
			name: WQ,
			reason: "FP8 in blocks of 16 × 8 becomes bfloat16",
		});
		// Those that are left out become nothing.
		expect(dequantised.filter(({ name }) => name.startsWith("model.layers.3."))).toEqual([]);
		const [first] = map(tinyGptOss(), { dtype: "float32" }).dequantised;
		expect(first?.reason).toBe("MXFP4 becomes float32");
		expect(map(tinyGptOss("bfloat16")).dequantised).toEqual([]);
		expect(map(tinyGptOss(), { target: "hf", keepQuantized: true }).dequantised).toEqual([]);
	});

	test.each([
		["keep", "bfloat16"],
		["bfloat16", "bfloat16"],
		["float16", "float16"],
	] as const)("with --dtype %s are rounded once, to %s", (dtype, stored) => {
		const expr = exprOf(map(tinyDeepseek(), { dtype }), "layers.1.attention.wq_a.weight");
		expect(expr).toMatchObject({
			kind: "cast",
			dtype: stored,
			of: { kind: "dequant", weight: { name: WQ }, scales: { name: `${WQ}_scale_inv` } },
		});
	});

	test("with --dtype float32 are not rounded", () => {
		const expr = exprOf(
			map(tinyDeepseek(), { dtype: "float32" }),
			"layers.1.attention.wq_a.weight",
		);
		expect(expr.kind).toBe("dequant");
	});

	test("may have bf16 scales, and experts in one tensor", () => {
		const fused = map(tinyDeepseek({ experts: "fused", scales: "bfloat16" }));
		expect(shapesOf(fused)).toEqual(shapesOf(map(tinyDeepseek())));
		const w3 = exprOf(fused, "layers.1.moe.routed_experts.inner_experts.w3_EFD");
		expect(w3).toMatchObject({
			kind: "slice",
			start: 18,
			end: 36,
			of: { of: { scaleCodec: "bfloat16", block: [1, 16, 8] } },
		});
	});

	test("any weight may be plain, also all of them", () => {
		const { quantization_config } = tinyDeepseek().config;
		const mixed = changed(tinyDeepseek(), {
			without: [WQ, `${WQ}_scale_inv`],
			add: [tinyTensor(WQ, "bfloat16", [20, 36])],
		});
		expect(exprOf(map(mixed), "layers.1.attention.wq_a.weight").kind).toBe("source");
		const plain = tinyDeepseek({ weights: "bfloat16" });
		const stale = { ...plain, config: { ...plain.config, quantization_config } };
		expect(map(stale)).toEqual(map(plain));
	});

	test("config.json may say so of the text model", () => {
		const model = tinyDeepseek();
		const { quantization_config, ...text } = model.config;
		const config = { text_config: { ...text, quantization_config } };
		const mapped = map({ ...model, config }, { target: "hf" });
		expect(exprOf(mapped, WQ).kind).toBe("cast");
	});
});

describe("MXFP4", () => {
	test("is the same model as the bf16 export", () => {
		const quantised = map(tinyGptOss());
		expect(shapesOf(quantised)).toEqual(shapesOf(map(tinyGptOss("bfloat16"))));
		expect(new Set(quantised.recipes.map(({ expr }) => expr.dtype))).toEqual(
			new Set(["bfloat16", "float32"]),
		);
	});

	test("is transposed on its way to the name of the export", () => {
		const mapped = map(tinyGptOss(), { target: "hf" });
		expect(exprOf(mapped, GATE_UP)).toMatchObject({
			kind: "permute",
			axes: [0, 2, 1],
			shape: [4, 64, 192],
			of: { of: { weight: { name: `${GATE_UP}_blocks` }, scales: { name: `${GATE_UP}_scales` } } },
		});
		expect(mapped.recipes.map(({ fqn }) => fqn)).toEqual(
			map(tinyGptOss("bfloat16"), { target: "hf" }).recipes.map(({ fqn }) => fqn),
		);
	});
});

describe("--keep-quantized", () => {
	test.each([tinyDeepseek(), tinyGptOss()])("stores every tensor as it is", (model) => {
		const mapped = map(model, { target: "hf", keepQuantized: true });
		expect(mapped.recipes.map(({ fqn, expr }) => [fqn, expr.kind, expr.dtype])).toEqual(
			model.tensors.map(({ name, dtype }) => [name, "source", dtype]),
		);
	});

	test("keeps what cannot be undone", () => {
		const model = changed(tinyDeepseek(), { quantization: { quant_method: "awq", bits: 4 } });
		expect(map(model, { target: "hf", keepQuantized: true }).recipes).toHaveLength(
			model.tensors.length,
		);
	});

	test.each([
		[{ target: "torchtitan" }, "the trainer has no parameters for quantised weights"],
		[{ target: "hf", dtype: "bfloat16" }, "would round the scales"],
	] as const)("refuses %j", (options, message) => {
		const error = errorOf(() => map(tinyDeepseek(), { keepQuantized: true, ...options }));
		expect(error.code).toBe("OPTIONS_INVALID");
		expect(error.message).toContain(message);
	});
});

describe("refused by name", () => {
	test.each([
		[
			{ quant_method: "compressed-tensors", format: "pack-quantized" },
			'compressed-tensors, format "pack-quantized"',
		],
		[{ quant_method: "awq", bits: 4 }, "awq, bits 4"],
		[{ quant_method: "gptq", bits: 8 }, "gptq, bits 8"],
		[{ quant_method: "bitsandbytes", load_in_4bit: true }, "bitsandbytes, load_in_4bit true"],
		[{ quant_method: "modelopt", quant_algo: "NVFP4" }, 'modelopt, quant_algo "NVFP4"'],
		[{ quant_method: "torchao" }, "torchao"],
		[{ quant_method: "fbgemm_fp8" }, "fbgemm_fp8"],
		[{ quant_method: "fp8", weight_block_size: null }, "fp8 with weight_block_size null"],
		[{ quant_method: "fp8" }, "fp8 with weight_block_size null"],
		[{ quant_method: "fp8", weight_block_size: [128] }, "fp8 with weight_block_size [128]"],
		[
			{ quant_method: "fp8", weight_block_size: [16, 8], activation_scheme: "static" },
			'fp8 with activation_scheme "static"',
		],
		[
			{ quant_method: "fp8", weight_block_size: [16, 8], expert_dtype: "fp4" },
			'fp8 with expert_dtype "fp4"',
		],
		[{}, "no quant_method"],
		["fp8", 'quantization_config is "fp8"'],
	])("%j", (quantization, seen) => {
		for (const target of ["torchtitan", "hf"]) {
			const error = errorOf(() => map(changed(tinyDeepseek(), { quantization }), { target }));
			expect(error.code).toBe("DTYPE_UNSUPPORTED");
			expect(error.message).toContain(`quantised (${seen})`);
			expect(error.hint).toContain("--keep-quantized");
		}
	});

	test.each([tinyDeepseek(), tinyGptOss()])("without quantization_config", (model) => {
		for (const target of ["torchtitan", "hf"]) {
			const error = errorOf(() => map(changed(model, { quantization: null }), { target }));
			expect(error.code).toBe("DTYPE_UNSUPPORTED");
			expect(error.message).toContain("config.json has no quantization_config");
		}
	});
});

describe("weights and scales that do not fit together", () => {
	const block = { quant_method: "fp8", weight_block_size: [16, 4] };
	test.each([
		[
			changed(tinyDeepseek(), { without: [`${WQ}_scale_inv`] }),
			`${WQ} is float8_e4m3fn without ${WQ}_scale_inv`,
		],
		[changed(tinyDeepseek(), { without: [WQ] }), `${WQ}_scale_inv has no ${WQ}`],
		[
			changed(tinyDeepseek(), { without: [WQ], add: [tinyTensor(WQ, "bfloat16", [20, 36])] }),
			`${WQ}_scale_inv belongs to ${WQ}, which is bfloat16`,
		],
		[
			changed(tinyDeepseek(), {
				without: [`${WQ}_scale_inv`],
				add: [tinyTensor(`${WQ}_scale_inv`, "float32", [2, 4])],
			}),
			`${WQ}_scale_inv is [2, 4], but ${WQ} [20, 36] has blocks of [16, 8]`,
		],
		[
			changed(tinyDeepseek(), {
				without: [`${WQ}_scale_inv`],
				add: [tinyTensor(`${WQ}_scale_inv`, "uint8", [2, 5])],
			}),
			`${WQ}_scale_inv is uint8, not a floating-point scale`,
		],
		[changed(tinyDeepseek(), { quantization: block }), "has blocks of [16, 4]"],
		[
			changed(tinyGptOss(), { without: [`${GATE_UP}_scales`] }),
			`${GATE_UP}_blocks is uint8 without ${GATE_UP}_scales`,
		],
		[
			changed(tinyGptOss(), { without: [`${GATE_UP}_blocks`] }),
			`${GATE_UP}_scales has no ${GATE_UP}_blocks`,
		],
		[
			changed(tinyGptOss(), { add: [tinyTensor(GATE_UP, "bfloat16", [4, 64, 192])] }),
			`${GATE_UP} is there twice, also quantised`,
		],
		[
			{
				...tinyGptOss(),
				tensors: [tinyTensor(GATE_UP, "bfloat16", [4, 64, 192]), ...tinyGptOss().tensors],
			},
			`${GATE_UP} is there twice, also quantised`,
		],
		[
			changed(tinyGptOss(), {
				without: [`${GATE_UP}_blocks`],
				add: [tinyTensor(`${GATE_UP}_blocks`, "uint8", [4, 192, 32])],
			}),
			`${GATE_UP}_blocks is [4, 192, 32], not`,
		],
	])("%#", (model, message) => {
		for (const target of ["torchtitan", "hf"]) {
			const error = errorOf(() => map(model, { target }));
			expect(error.code).toBe("NAMES_UNRESOLVED");
			expect(error.message).toContain(message);
		}
	});
});
