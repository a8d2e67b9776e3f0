import { HfStreamDcpError, isHfStreamDcpError } from "../../core/errors.ts";
import { type Expr, source as sourceExpr, type SourceExpr } from "../../core/expr.ts";
import type { DequantDtype } from "../../core/quantisation.ts";
import type { Source, SourceTensor } from "../../core/source.ts";
import { type QuantMethod, readQuantMethod } from "./method.ts";
import { fp8Scheme, MXFP4_SCHEME, type QuantScheme } from "./schemes.ts";

/** What becomes of quantised weights. */
export interface QuantisedUse {
	/** What they are stored as; `keep` means bfloat16, which is what models are that were quantised afterwards. */
	readonly dtype: "keep" | DequantDtype;
	/** Leaves them and their scales as they are. */
	readonly keepQuantized: boolean;
}

/** The tensors of a source under the names that they have in an export which is not quantised. */
export interface LogicalTensors {
	/** In the order of the files. Each tensor of the source is in exactly one of them. */
	readonly tensors: ReadonlyMap<string, Expr>;
	/** The logical tensor that the tensor `name` of the source belongs to. */
	readonly nameOf: (name: string) => string;
	/** What weights that were quantised are stored as. */
	readonly stored: DequantDtype;
}

/**
 * Puts quantised weights together with their scales, so that nobody after this has to know of them. What is quantised is what has
 * scales: a repository may leave any of its weights as they were (`modules_to_not_convert`), also all of them.
 *
 * @throws {HfStreamDcpError} `DTYPE_UNSUPPORTED` for a quantisation that cannot be undone, by its name, and for one that
 * `config.json` does not mention; `NAMES_UNRESOLVED` for weights without scales, scales without weights, and scales of a wrong
 * shape, all together.
 */
export function logicalTensors(source: Source, use: QuantisedUse): LogicalTensors {
	const stored = use.dtype === "keep" ? "bfloat16" : use.dtype;
	if (use.keepQuantized) return plainTensors(source, stored);
	const scheme = schemeOf(readQuantMethod(source.config));
	if (scheme !== undefined) return dequantisedTensors(source, scheme, stored);
	refuseUnannounced(source);
	return plainTensors(source, stored);
}

function schemeOf(method: QuantMethod): QuantScheme | undefined {
	switch (method.kind) {
		case "none":
			return undefined;
		case "fp8":
			return fp8Scheme(method.block);
		case "mxfp4":
			return MXFP4_SCHEME;
		default:
			return method satisfies never;
	}
}

function plainTensors({ tensors }: Source, stored: DequantDtype): LogicalTensors {
	return {
		tensors: new Map(tensors.map((tensor) => [tensor.name, exprOf(tensor)])),
		nameOf: (name) => name,
		stored,
	};
}

function exprOf({ name, dtype, shape }: SourceTensor): SourceExpr {
	return sourceExpr(name, dtype, shape);
}

/** 8-bit floats alone are a dtype like any other; with scales beside them they mean something else. */
function refuseUnannounced({ tensors }: Source): void {
	const names = new Set(tensors.map(({ name }) => name));
	for (const scheme of [fp8Scheme([1, 1]), MXFP4_SCHEME]) {
		const weight = tensors.find(
			(tensor) => scheme.isWeight(tensor) && names.has(scheme.scalesOf(tensor.name)),
		);
		if (weight === undefined) continue;
		const { name } = weight;
		throw new HfStreamDcpError(
			"DTYPE_UNSUPPORTED",
			`${name} and ${scheme.scalesOf(name)} are quantised, but config.json has no quantization_config`,
			{
				hint: "Take the config.json of the quantised repository; --target hf --keep-quantized stores both as they are.",
				facts: { tensor: name },
			},
		);
	}
}

function dequantisedTensors(
	{ tensors }: Source,
	scheme: QuantScheme,
	stored: DequantDtype,
): LogicalTensors {
	const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
	const logical = new Map<string, Expr>();
	const names = new Map<string, string>();
	const problems: string[] = [];
	const add = (name: string, expr: Expr): void => {
		if (logical.has(name)) problems.push(`${name} is there twice, also quantised`);
		logical.set(name, expr);
	};
	for (const tensor of tensors) {
		const { name } = tensor;
		if (scheme.isWeight(tensor)) {
			const scales = byName.get(scheme.scalesOf(name));
			const made = buildOrExplain(scheme, tensor, scales, stored);
			if (typeof made === "string") problems.push(made);
			else add(scheme.logicalOf(name), made);
			names.set(name, scheme.logicalOf(name));
		} else if (scheme.isScales(tensor)) {
			const weight = byName.get(scheme.weightOf(name));
			names.set(name, scheme.logicalOf(scheme.weightOf(name)));
			if (weight === undefined) problems.push(`${name} has no ${scheme.weightOf(name)}`);
			else if (!scheme.isWeight(weight)) {
				problems.push(`${name} belongs to ${weight.name}, which is ${weight.dtype}`);
			}
		} else add(name, exprOf(tensor));
	}
	if (problems.length > 0) throw inconsistent(scheme, problems);
	return { tensors: logical, nameOf: (name) => names.get(name) ?? name, stored };
}

function buildOrExplain(
	scheme: QuantScheme,
	weight: SourceTensor,
	scales: SourceTensor | undefined,
	dtype: DequantDtype,
): Expr | string {
	if (scales === undefined) {
		return `${weight.name} is ${weight.dtype} without ${scheme.scalesOf(weight.name)}`;
	}
	try {
		return scheme.build(exprOf(weight), exprOf(scales), dtype);
	} catch (error) {
		if (!isHfStreamDcpError(error, "RECIPE_INVALID")) throw error;
		return error.message;
	}
}

/** Problems that a message shows before it only counts. */
const SHOWN = 8;

function inconsistent({ title }: QuantScheme, problems: readonly string[]): HfStreamDcpError {
	const hidden = problems.length - SHOWN;
	const lines = problems.slice(0, SHOWN).map((problem) => `  ${problem}`);
	if (hidden > 0) lines.push(`  … and ${hidden} more`);
	return new HfStreamDcpError(
		"NAMES_UNRESOLVED",
		[`${title} and their scales do not fit together:`, ...lines].join("\n"),
		{
			hint: "Nothing was fetched. Check that the repository is complete and config.json its own; --target hf --keep-quantized stores every tensor as it is.",
			facts: { problems },
		},
	);
}
