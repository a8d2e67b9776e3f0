import * as v from "valibot";
import { HfStreamDcpError } from "./core/errors.ts";
import type { EventListener } from "./core/events.ts";
import * as fields from "./option-fields.ts";
import {
	type ConversionOptions,
	type ConvertOptions,
	DEFAULT_CONNECTIONS,
	DEFAULT_LEASE_SECONDS,
	DEFAULT_MEMORY_BYTES,
	type Environment,
	type LintOptions,
} from "./options.ts";

/** Most connections that are accepted; beyond it the sockets cost more than they bring. */
export const MAX_CONNECTIONS = 256;

const conversionEntries = {
	repo: fields.nonEmptyText("a Hub repository such as org/name, or a directory"),
	revision: v.optional(fields.nonEmptyText("a branch, a tag or a commit")),
	family: v.optional(fields.family),
	target: v.optional(fields.nonEmptyText("the name of a key profile")),
	dtype: v.optional(fields.dtype),
	keepQuantized: v.optional(v.boolean("expected true or false"), false),
	parallelism: v.optional(fields.parallelism, {}),
	like: v.optional(fields.nonEmptyText("the directory of a checkpoint")),
	layout: v.optional(fields.nonEmptyText("a layout file, or a directory of them")),
	memoryBytes: v.optional(fields.memoryBytes, DEFAULT_MEMORY_BYTES),
	connections: v.optional(
		fields.wholeNumber(
			(value) => value >= 1 && value <= MAX_CONNECTIONS,
			`a whole number from 1 to ${MAX_CONNECTIONS}`,
		),
		DEFAULT_CONNECTIONS,
	),
	threads: v.optional(fields.threads, "auto"),
	device: v.optional(fields.device, "auto"),
	localWorkers: v.optional(fields.degree, 1),
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
};

/** Accepts everything {@link parseConversionOptions} accepts. */
const ConversionOptionsSchema: v.GenericSchema<unknown, ConversionOptions> =
	v.strictObject(conversionEntries);

/** Accepts everything {@link parseConvertOptions} accepts. */
const ConvertOptionsSchema: v.GenericSchema<unknown, ConvertOptions> = v.strictObject({
	...conversionEntries,
	out: fields.nonEmptyText("a directory for the checkpoint"),
	hash: v.optional(fields.hash, "sha256"),
	overwrite: v.optional(v.boolean("expected true or false"), false),
	worker: v.optional(fields.worker, { index: 0, count: 1 }),
	takeover: v.optional(v.boolean("expected true or false"), true),
	leaseSeconds: v.optional(fields.leaseSeconds, DEFAULT_LEASE_SECONDS),
	localOutput: v.optional(v.boolean("expected true or false"), false),
	ranks: v.optional(fields.ranks),
});

/** Accepts everything {@link parseLintOptions} accepts. */
const LintOptionsSchema: v.GenericSchema<unknown, LintOptions> = v.strictObject({
	directory: fields.nonEmptyText("the directory of a checkpoint"),
	model: v.optional(fields.nonEmptyText("a Hub repository such as org/name, or a directory")),
	revision: conversionEntries.revision,
	family: conversionEntries.family,
	target: conversionEntries.target,
	dtype: conversionEntries.dtype,
	parallelism: conversionEntries.parallelism,
	like: conversionEntries.like,
	layout: conversionEntries.layout,
	prefix: v.optional(fields.nonEmptyText("what stands before the keys, such as model.")),
	maxAmplification: v.optional(fields.factor),
	readBufferBytes: v.optional(fields.memoryBytes),
	rank: v.optional(fields.count),
	environment: conversionEntries.environment,
	signal: conversionEntries.signal,
	onEvent: conversionEntries.onEvent,
});

/** One thing that is wrong with options: `{ path: "parallelism.tp", message: "expected …" }`; in `facts.issues`. */
export interface OptionIssue {
	/** Dots between keys; empty for the options as a whole. */
	readonly path: string;
	readonly message: string;
}

function toIssue(issue: v.BaseIssue<unknown>): OptionIssue {
	const path = v.getDotPath(issue) ?? "";
	if (issue.type === "strict_object") {
		if (issue.expected === "never") return { path, message: "there is no such option" };
		return { path, message: "is missing" };
	}
	if (issue.input === undefined) return { path, message: issue.message };
	const { input } = issue;
	// Text and numbers help to find the mistake; a whole object would hide it.
	const isShown = typeof input === "string" || typeof input === "number" || input === null;
	const got = isShown ? JSON.stringify(input) : `a value of type ${typeof input}`;
	return { path, message: `${issue.message}, got ${got}` };
}

/** What decides the layout. */
type LayoutOptions = Pick<LintOptions, "like" | "layout" | "parallelism">;

/** A second thing that decides the layout: the path is that of the option which is one too many. */
function secondLayout({ like, layout, parallelism = {} }: LayoutOptions): OptionIssue | undefined {
	if (like !== undefined && layout !== undefined) {
		const message = "the layout is taken from a checkpoint already; leave one of the two out";
		return { path: "layout", message };
	}
	const mesh = Object.entries(parallelism).find(([, value]) => value !== undefined)?.[0];
	if (mesh === undefined || (like ?? layout) === undefined) return undefined;
	const from = like === undefined ? "the layout file" : "the checkpoint whose layout is taken";
	const message = `${from} says who holds what; leave out every setting of the mesh`;
	return { path: `parallelism.${mesh}`, message };
}

/**
 * Checks options against their schema, and then for what contradicts itself.
 *
 * @param contradiction - What is wrong with options that are right one by one.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with the path of every wrong option; `facts.issues` is an {@link OptionIssue}[].
 */
export function parseWith<T>(
	schema: v.GenericSchema<unknown, T>,
	input: unknown,
	contradiction: (options: T) => OptionIssue | undefined,
): T {
	const result = v.safeParse(schema, input);
	const second = result.success ? contradiction(result.output) : undefined;
	if (result.success && second === undefined) return result.output;
	const issues = second === undefined ? (result.issues ?? []).map(toIssue) : [second];
	const lines = issues.map(({ path, message }) => `${path === "" ? "options" : path}: ${message}`);
	throw new HfStreamDcpError("OPTIONS_INVALID", lines.join("\n"), { facts: { issues } });
}

/**
 * Checks what decides a plan and fills in the defaults. Numbers may be decimal text, `memoryBytes` a size such as
 * `512MiB`, and `moduleFqnsPerModelPart` JSON or `a,b;c`: flags and files pass through the same gate as programs.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with the path of every wrong option; `facts.issues` is an {@link OptionIssue}[].
 */
export function parseConversionOptions(input: unknown): ConversionOptions {
	return parseWith(ConversionOptionsSchema, input, secondLayout);
}

/**
 * As {@link parseConversionOptions}, with the directory the checkpoint goes to.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with the path of every wrong option; `facts.issues` is an {@link OptionIssue}[].
 */
export function parseConvertOptions(input: unknown): ConvertOptions {
	return parseWith(ConvertOptionsSchema, input, secondLayout);
}

/**
 * Checks what `lintCheckpoint` is asked, as {@link parseConversionOptions} does; `maxAmplification` may be text.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with the path of every wrong option; `facts.issues` is an {@link OptionIssue}[].
 */
export function parseLintOptions(input: unknown): LintOptions {
	return parseWith(LintOptionsSchema, input, secondLayout);
}
