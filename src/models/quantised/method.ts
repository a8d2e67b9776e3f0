import { HfStreamDcpError } from "../../core/errors.ts";
import { isRecord, type JsonRecord, textField } from "../json.ts";

/** How the weights of a source are quantised. */
export type QuantMethod =
	| { readonly kind: "none" }
	/** `X` of 8-bit floats beside `X_scale_inv`, one scale per block of rows and columns. */
	| { readonly kind: "fp8"; readonly block: readonly [rows: number, columns: number] }
	/** `X_blocks` of packed 4-bit floats beside `X_scales`. */
	| { readonly kind: "mxfp4" };

/** Keys under which `config.json` says how its weights are quantised; the second is that of older compressed-tensors. */
const KEYS: readonly string[] = ["quantization_config", "compression_config"];

/** What is undone, for hints. */
const KNOWN = "FP8 with weight_block_size, and MXFP4";

/**
 * Reads how the weights are quantised from `config.json`: from its top, or from the part of a submodel (`text_config`).
 *
 * @see transformers 5.23 `utils/quantization_config.py`: `FineGrainedFP8Config`, `Mxfp4Config`.
 * @throws {HfStreamDcpError} `DTYPE_UNSUPPORTED` for every other way, by its name.
 */
export function readQuantMethod(config: unknown): QuantMethod {
	const found = findQuantization(config);
	if (found === undefined) return { kind: "none" };
	const { key, value } = found;
	if (!isRecord(value)) throw unsupported(key, `${key} is ${JSON.stringify(value)}`);
	const method = textField(value, "quant_method");
	if (method === "fp8") return { kind: "fp8", block: readBlock(value) };
	if (method === "mxfp4") return { kind: "mxfp4" };
	throw unsupported(method ?? key, describe(method, value));
}

function findQuantization(
	config: unknown,
): { readonly key: string; readonly value: unknown } | undefined {
	if (!isRecord(config)) return undefined;
	for (const part of [config, ...Object.values(config).filter(isRecord)]) {
		for (const key of KEYS) {
			const value = part[key];
			if (value !== undefined && value !== null) return { key, value };
		}
	}
	return undefined;
}

function readBlock(config: JsonRecord): readonly [number, number] {
	const block = config["weight_block_size"];
	const sizes: readonly unknown[] = Array.isArray(block) ? block : [];
	const [rows, columns] = sizes;
	if (sizes.length !== 2 || !isBlockSize(rows) || !isBlockSize(columns)) {
		throw unsupported("fp8", `fp8 with weight_block_size ${JSON.stringify(block ?? null)}`);
	}
	const scheme = config["activation_scheme"];
	if (scheme !== undefined && scheme !== "dynamic") {
		throw unsupported("fp8", `fp8 with activation_scheme ${JSON.stringify(scheme)}`);
	}
	const experts = config["expert_dtype"];
	if (experts !== undefined && experts !== "fp8") {
		throw unsupported("fp8", `fp8 with expert_dtype ${JSON.stringify(experts)}`);
	}
	return [rows, columns];
}

function isBlockSize(value: unknown): value is number {
	return typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
}

/** `compressed-tensors, format "pack-quantized"`, `gptq, bits 4`: what tells variants of a method apart. */
function describe(method: string | undefined, config: JsonRecord): string {
	const details = ["format", "quant_algo", "bits", "load_in_4bit", "load_in_8bit"].flatMap((key) =>
		config[key] === undefined ? [] : [`${key} ${JSON.stringify(config[key])}`],
	);
	return [method ?? "no quant_method", ...details].join(", ");
}

function unsupported(method: string, seen: string): HfStreamDcpError {
	return new HfStreamDcpError(
		"DTYPE_UNSUPPORTED",
		`config.json: the weights are quantised (${seen}), which cannot be undone here`,
		{
			hint: `Undone are ${KNOWN}. Use a repository with bf16 weights; --target hf --keep-quantized stores the quantised tensors as they are.`,
			facts: { method },
		},
	);
}
