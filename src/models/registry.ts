import { HfStreamDcpError } from "../core/errors.ts";
import { DEEPSEEK_V3 } from "./deepseek-v3.ts";
import type { Family } from "./family.ts";
import { FLUX } from "./flux.ts";
import { GPT_OSS } from "./gpt-oss.ts";
import { isRecord, type JsonRecord, textField } from "./json.ts";
import { KIMI_K2 } from "./kimi-k2.ts";
import { LLAMA3 } from "./llama3.ts";
import { LLAMA4 } from "./llama4.ts";
import { MUSE_GLIMMER } from "./muse-glimmer.ts";
import { QWEN3_5 } from "./qwen3-5.ts";
import { QWEN3_VL } from "./qwen3-vl.ts";
import { QWEN3 } from "./qwen3.ts";

/** Every family with rules. A new one is a file and a line here. */
export const FAMILIES: readonly Family[] = [
	DEEPSEEK_V3,
	FLUX,
	GPT_OSS,
	KIMI_K2,
	LLAMA3,
	LLAMA4,
	MUSE_GLIMMER,
	QWEN3,
	QWEN3_5,
	QWEN3_VL,
];

/** Name of the family that keeps names; it belongs to the target of the same name and has no rules. */
export const HF_FAMILY = "hf";

/** Every family with one line about it, for `--help`. */
export function listFamilies(): readonly string[] {
	const lines = [
		...FAMILIES.map(({ name, summary }) => [name, summary] as const),
		[HF_FAMILY, "any architecture, names kept; chosen by --target hf"] as const,
	];
	const width = Math.max(...lines.map(([name]) => name.length));
	return lines.map(([name, summary]) => `${name.padEnd(width)}  ${summary}`);
}

/**
 * The family called `name`, or the one that `config.json` asks for when no name is given.
 *
 * @throws {HfStreamDcpError} `FAMILY_UNKNOWN` when there is none.
 */
export function chooseFamily(name: string | undefined, config: unknown): Family {
	const found =
		name === undefined ? familyOf(config) : FAMILIES.find((family) => family.name === name);
	if (found !== undefined) return found;
	throw new HfStreamDcpError("FAMILY_UNKNOWN", describeUnknown(name, config), {
		hint: `Known families: ${FAMILIES.map((family) => family.name).join(", ")}. --family <name> uses one of them all the same, --family ./my-family.json one of your own; --target hf keeps the names of any architecture.`,
		facts: {
			family: name,
			modelType: isRecord(config) ? textField(config, "model_type") : undefined,
		},
	});
}

/**
 * The built-in family called `name`, to start one of one's own from. It is JSON.
 *
 * @throws {HfStreamDcpError} `FAMILY_UNKNOWN` when there is none.
 */
export function builtInFamily(name: string): Family {
	return chooseFamily(name, undefined);
}

function familyOf(config: unknown): Family | undefined {
	if (!isRecord(config)) return undefined;
	const modelType = textField(config, "model_type");
	const byType = FAMILIES.find((family) => family.modelTypes.includes(modelType ?? ""));
	if (byType !== undefined) return byType;
	const architectures = architecturesOf(config);
	return FAMILIES.find((family) =>
		family.architectures.some((name) => architectures.includes(name)),
	);
}

/** What transformers lists under `architectures`, and what diffusers calls `_class_name`. */
function architecturesOf(config: JsonRecord): readonly string[] {
	const { architectures, _class_name: name } = config;
	const listed: readonly unknown[] = Array.isArray(architectures) ? architectures : [];
	return [...listed, name].filter((text): text is string => typeof text === "string");
}

function describeUnknown(name: string | undefined, config: unknown): string {
	if (name !== undefined) return `there is no family ${JSON.stringify(name)}`;
	if (!isRecord(config)) return "the repository has no config.json that says what model it is";
	const modelType = textField(config, "model_type") ?? "(none)";
	const architectures = architecturesOf(config).join(", ");
	return `no family for model_type ${modelType}${architectures === "" ? "" : `, architectures ${architectures}`}`;
}
