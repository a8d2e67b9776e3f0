import * as v from "valibot";
import type { EventListener } from "./core/events.ts";
import type { ExportDtype } from "./export/plan-export.ts";
import type { Family } from "./models/family.ts";
import * as fields from "./option-fields.ts";
import { DEFAULT_CONNECTIONS, DEFAULT_MEMORY_BYTES, type Environment } from "./options.ts";
import { MAX_CONNECTIONS, type OptionIssue, parseWith } from "./parse-options.ts";

/** Default of `maxShardBytes`: 5 GB, as `save_pretrained` writes. */
export const DEFAULT_SHARD_BYTES = 5_000_000_000;

/** A checkpoint, and the model that is made of it. */
export interface ExportOptions {
	/** Directory of a DCP checkpoint: ours, or what a trainer saved later. */
	readonly directory: string;
	/** Directory of the model; made when missing. */
	readonly out: string;
	/**
	 * The model that the training began with: `org/name` on the Hub, or a directory. Says how the checkpoint was made where no manifest does;
	 * tokenizer and other small files are copied from it.
	 */
	readonly model?: string | undefined;
	/** Branch, tag or commit of `model`. @default "main" */
	readonly revision?: string | undefined;
	/** The manifest of the conversion that the training began with, or the directory that it is in. @default that in `directory` */
	readonly manifest?: string | undefined;
	/** Family of `model`, by name or file, where it is mapped again. @default by `config.json` */
	readonly family?: string | Family | undefined;
	/** Key profile of the checkpoint, where `model` is mapped again. @default the one that spells names as the checkpoint does */
	readonly target?: string | undefined;
	/**
	 * What floats are written as: `original`, as in the model, and bfloat16 where that was quantised; `stored`, as in the checkpoint; or one
	 * dtype. @default "original"
	 */
	readonly dtype: ExportDtype;
	/** How tensors are divided into files. @default "original", and "size" where dtypes change or `maxShardBytes` is given */
	readonly shards?: "original" | "size" | undefined;
	/** Most data in a file, bytes. @default 5000000000 (5 GB) */
	readonly maxShardBytes?: number | undefined;
	/** Whether tensors that the checkpoint has nothing of are taken from `model`, or from where the manifest says that it was. @default false */
	readonly fill: boolean;
	/** Whether they may be left out. @default false */
	readonly skipMissing: boolean;
	/** Budget beyond what Node itself takes, bytes. @default 268435456 (256 MiB) */
	readonly memoryBytes: number;
	/** Most connections to one origin. @default 16 */
	readonly connections: number;
	/** Whether a model in `out` is replaced. @default false */
	readonly overwrite: boolean;
	/** Whether nothing is written, and no data read. @default false */
	readonly dryRun: boolean;
	/** Where tokens, proxies, the cache and the endpoint are looked up. @default process.env */
	readonly environment?: Environment | undefined;
	/** Stops the work; the call then rejects with `signal.reason`. */
	readonly signal?: AbortSignal | undefined;
	/** Told what happens. One that throws is ignored. */
	readonly onEvent?: EventListener | undefined;
}

const DTYPES = ["original", "stored", "bfloat16", "float16", "float32"] as const;
const SHARDS = ["original", "size"] as const;
const flag = v.optional(v.boolean("expected true or false"), false);

const ExportOptionsSchema: v.GenericSchema<unknown, ExportOptions> = v.strictObject({
	directory: fields.nonEmptyText("the directory of a checkpoint"),
	out: fields.nonEmptyText("a directory for the model"),
	model: v.optional(fields.nonEmptyText("a Hub repository such as org/name, or a directory")),
	revision: v.optional(fields.nonEmptyText("a branch, a tag or a commit")),
	manifest: v.optional(fields.nonEmptyText("a manifest, or the directory of a checkpoint")),
	family: v.optional(fields.family),
	target: v.optional(fields.nonEmptyText("the name of a key profile")),
	dtype: v.optional(v.picklist(DTYPES, `expected one of ${DTYPES.join(", ")}`), "original"),
	shards: v.optional(v.picklist(SHARDS, `expected one of ${SHARDS.join(", ")}`)),
	maxShardBytes: v.optional(fields.memoryBytes),
	fill: flag,
	skipMissing: flag,
	memoryBytes: v.optional(fields.memoryBytes, DEFAULT_MEMORY_BYTES),
	connections: v.optional(
		fields.wholeNumber(
			(value) => value >= 1 && value <= MAX_CONNECTIONS,
			`a whole number from 1 to ${MAX_CONNECTIONS}`,
		),
		DEFAULT_CONNECTIONS,
	),
	overwrite: flag,
	dryRun: flag,
	environment: v.optional(
		v.custom<Environment>(
			(value) => typeof value === "object" && value !== null,
			"expected environment variables",
		),
	),
	signal: v.optional(v.instance(AbortSignal, "expected an AbortSignal")),
	onEvent: v.optional(
		v.custom<EventListener>((value) => typeof value === "function", "expected a function"),
	),
});

/**
 * Checks the options of an export and fills in the defaults. Sizes may be text, `5GB`.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with the path of every wrong option; `facts.issues` is an {@link OptionIssue}[].
 */
export function parseExportOptions(input: unknown): ExportOptions {
	return parseWith(ExportOptionsSchema, input, second);
}

/** Options that contradict another one. */
function second({
	shards,
	maxShardBytes,
	revision,
	model,
	family,
	target,
	manifest,
}: ExportOptions): OptionIssue | undefined {
	if (shards === "original" && maxShardBytes !== undefined) {
		const message = "the files are those of the model already; leave one of the two out";
		return { path: "maxShardBytes", message };
	}
	if (revision !== undefined && model === undefined) {
		return { path: "revision", message: "of which model? Give it as well" };
	}
	if (manifest !== undefined && (family ?? target) !== undefined) {
		const path = family === undefined ? "target" : "family";
		return { path, message: "the manifest says so already; leave one of the two out" };
	}
	return undefined;
}
