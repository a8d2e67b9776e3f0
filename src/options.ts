import * as v from "valibot";
import type { DeviceOption } from "./core/device.ts";
import { HfStreamDcpError } from "./core/errors.ts";
import type { EventListener } from "./core/events.ts";
import type { Family } from "./models/family.ts";
import type { ParallelismInput } from "./layout/parallelism.ts";
import type { TargetDtype } from "./plan/create-plan.ts";
import type { ThreadsOption } from "./threads/choose-threads.ts";

/** Environment variables, as in `process.env`. */
export type Environment = { readonly [name: string]: string | undefined };

/** What decides a plan: a model, a target and a mesh. */
export interface ConversionOptions {
	/** `org/name` on the Hub, or the path of a local directory with safetensors files. */
	readonly repo: string;
	/** Branch, tag or commit on the Hub. @default "main" */
	readonly revision?: string | undefined;
	/**
	 * Name of a built-in model family; the path of a family file, `./my-family.json` or `./my-family.mjs`; or a family. Chosen by
	 * `config.json` when left out.
	 */
	readonly family?: string | Family | undefined;
	/**
	 * Name of the key profile: which names and layout rules the trainer uses. @default "torchtitan", and "own" for a family with
	 * `layout: "fsdp"`; with `like`, the one that spells names as that checkpoint does
	 */
	readonly target?: string | undefined;
	/**
	 * What floats are stored as. `keep` leaves them as they are; weights that were quantised become bfloat16. @default as `like` or
	 * `layout` says, otherwise "keep"
	 */
	readonly dtype?: TargetDtype | undefined;
	/** Whether quantised weights and their scales are stored as they are; with the target `hf` alone. @default false */
	readonly keepQuantized: boolean;
	/** Mesh of the training job. @default one rank */
	readonly parallelism: ParallelismInput;
	/**
	 * Directory of a checkpoint of the training job, instead of a mesh: its `.metadata` says which tensors there are, in which blocks, in
	 * the files of which ranks.
	 */
	readonly like?: string | undefined;
	/** A layout file, or a directory of one per rank, instead of a mesh; `docs/layouts.md` describes it. */
	readonly layout?: string | undefined;
	/** Budget of one thread beyond what Node itself takes; half of it, and all but 96 MiB of a large one, are staging, ranges in flight and write buffers. Bytes. @default 268435456 (256 MiB) */
	readonly memoryBytes: number;
	/** Most connections to one origin, of all threads together, each of which may have one; how many are opened follows from what they bring. @default 16 */
	readonly connections: number;
	/**
	 * Threads that fetch and write side by side, each with `memoryBytes` of its own. `auto`: as many as the cores, the memory and the
	 * size of the model make sensible, at most 16. @default "auto"
	 */
	readonly threads: ThreadsOption;
	/**
	 * What reshards: `cpu`; `webgpu`, whatever GPU there is, also one in software; `auto`: a GPU where it is real and expected to pay. The
	 * checkpoint is the same, and a conversion that was stopped goes on with any other. @default "auto"
	 */
	readonly device: DeviceOption;
	/** Workers that share this machine, this one included: `auto` divides the machine among them. @default 1 */
	readonly localWorkers: number;
	/** Where tokens, proxies, the cache and the endpoint are looked up. @default process.env */
	readonly environment?: Environment | undefined;
	/** Stops the work; the call then rejects with `signal.reason`. */
	readonly signal?: AbortSignal | undefined;
	/** Told what happens. One that throws is ignored. */
	readonly onEvent?: EventListener | undefined;
}

/** A conversion and where it goes. */
export interface ConvertOptions extends ConversionOptions {
	/** Directory of the checkpoint; made when missing. */
	readonly out: string;
	/** Whether a finished checkpoint in `out` is replaced. @default false */
	readonly overwrite: boolean;
	/** Which of how many workers of the job this is; `index` counts from 0. @default the only one */
	readonly worker: WorkerIdentity;
	/** Whether this worker also finishes what others left. @default true */
	readonly takeover: boolean;
	/** How long a worker without a sign of life is respected, seconds. @default 60 */
	readonly leaseSeconds: number;
	/** Whether `out` is this worker's own, on a disk that others do not see: it then holds what the worker's ranks need. @default false */
	readonly localOutput: boolean;
	/**
	 * With `localOutput`, the ranks of the training job that this worker writes for, also as text: `0-7,16`. @default worker i of n writes
	 * for ranks i·W/n up to but not including (i + 1)·W/n of W
	 */
	readonly ranks?: readonly number[] | undefined;
}

/** One of the workers of a job. */
export interface WorkerIdentity {
	/** From 0. */
	readonly index: number;
	readonly count: number;
}

/** Default of `target`: the newest torchtitan profile. A family file may have another. */
export const DEFAULT_TARGET = "torchtitan";

/** Default of `memoryBytes`: 256 MiB. */
export const DEFAULT_MEMORY_BYTES: number = 256 * 1024 * 1024;

/** Default of `connections`. Begins with 4; one connection to the Hub's CDN gives 40–85 MB/s. */
export const DEFAULT_CONNECTIONS = 16;

/** Default of `leaseSeconds`: longer than a network file system is away when it fails over to another server. */
export const DEFAULT_LEASE_SECONDS = 60;

/** Most connections that are accepted; beyond it the sockets cost more than they bring. */
const MAX_CONNECTIONS = 256;

/** Most threads that are accepted: no machine has more cores. */
const MAX_THREADS = 1024;

const SIZE_UNITS: { readonly [unit: string]: number } = {
	"": 1,
	b: 1,
	kb: 1e3,
	mb: 1e6,
	gb: 1e9,
	tb: 1e12,
	kib: 1024,
	mib: 1024 ** 2,
	gib: 1024 ** 3,
	tib: 1024 ** 4,
};

/**
 * Bytes of a size as people write it: `512MiB`, `2GB`, `1.5 GiB`, `1048576`. `kB`, `MB`, … are powers of 1000, `KiB`,
 * `MiB`, … powers of 1024; capitals do not matter. Rounded to a whole byte.
 *
 * @returns `undefined` when `text` is no size, or none that a number can count exactly.
 */
export function parseSize(text: string): number | undefined {
	const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
	if (match === null) return undefined;
	const [, count = "", unit = ""] = match;
	const factor = SIZE_UNITS[unit.toLowerCase()];
	if (factor === undefined) return undefined;
	const bytes = Math.round(Number(count) * factor);
	return Number.isSafeInteger(bytes) ? bytes : undefined;
}

type Field<T> = v.GenericSchema<unknown, T>;

/** A whole number that `isAllowed`, also as decimal text. Meshes too large to handle are the layout's to refuse. */
function wholeNumber(isAllowed: (value: number) => boolean, allowed: string): Field<number> {
	const message = `expected ${allowed}`;
	return v.pipe(
		v.union(
			[v.number(), v.pipe(v.string(), v.regex(/^\s*-?\d+\s*$/), v.transform(Number))],
			message,
		),
		v.check((value) => Number.isSafeInteger(value) && isAllowed(value), message),
	);
}

const degree = wholeNumber((value) => value >= 1, "a whole number of at least 1");
const count = wholeNumber((value) => value >= 0, "a whole number of at least 0");
const shardDegree = wholeNumber(
	(value) => value >= 1 || value === -1,
	"a whole number of at least 1, or -1 for the ranks that are left",
);

function nonEmptyText(what: string): Field<string> {
	return v.pipe(v.string(`expected ${what}`), v.trim(), v.nonEmpty(`expected ${what}`));
}

const PARTS_MESSAGE =
	'expected lists of module names: "tok_embeddings,layers.0;layers.1,norm,lm_head" or JSON [["tok_embeddings", …], …]';

/** Module names of every pipeline stage, from lists, from their JSON, or from `a,b;c` text. */
function readModuleParts(value: unknown): unknown {
	if (typeof value !== "string") return value;
	if (!value.trimStart().startsWith("[")) {
		return value.split(";").map((part) => part.split(",").map((name) => name.trim()));
	}
	try {
		return JSON.parse(value) as unknown;
	} catch {
		return undefined;
	}
}

const moduleParts: Field<string[][]> = v.pipe(
	v.unknown(),
	v.transform(readModuleParts),
	v.pipe(
		v.array(
			v.pipe(
				v.array(v.pipe(v.string(PARTS_MESSAGE), v.nonEmpty(PARTS_MESSAGE)), PARTS_MESSAGE),
				v.nonEmpty(PARTS_MESSAGE),
			),
			PARTS_MESSAGE,
		),
		v.nonEmpty(PARTS_MESSAGE),
	),
);

const parallelismSchema: Field<ParallelismInput> = v.strictObject({
	dpReplicate: v.optional(degree),
	dpShard: v.optional(shardDegree),
	tp: v.optional(degree),
	cp: v.optional(degree),
	pp: v.optional(degree),
	ep: v.optional(degree),
	etp: v.optional(degree),
	worldSize: v.optional(degree),
	pipelineSchedule: v.optional(nonEmptyText("the name of a pipeline schedule")),
	layersPerStage: v.optional(degree),
	firstStageLessLayers: v.optional(count),
	lastStageLessLayers: v.optional(count),
	moduleFqnsPerModelPart: v.optional(moduleParts),
});

const MEMORY_MESSAGE = "expected a size such as 256MiB, 2GB or a number of bytes";

const memorySchema: Field<number> = v.pipe(
	v.union([v.number(), v.string()], MEMORY_MESSAGE),
	v.transform((value) => (typeof value === "string" ? (parseSize(value) ?? value) : value)),
	v.pipe(v.number(MEMORY_MESSAGE), v.safeInteger(MEMORY_MESSAGE), v.minValue(1, MEMORY_MESSAGE)),
);

const THREADS_MESSAGE = `a whole number from 1 to ${MAX_THREADS}, or auto`;

const threads: Field<ThreadsOption> = v.union(
	[v.literal("auto"), wholeNumber((value) => value >= 1 && value <= MAX_THREADS, THREADS_MESSAGE)],
	`expected ${THREADS_MESSAGE}`,
);

const worker: Field<WorkerIdentity> = v.pipe(
	v.strictObject({
		index: wholeNumber((value) => value >= 0, "a whole number of at least 0"),
		count: wholeNumber((value) => value >= 1, "a whole number of at least 1"),
	}),
	v.check((own) => own.index < own.count, "expected an index below the number of workers"),
);

const LEASE_MESSAGE = "expected a number of seconds of at least 0.1";

const leaseSeconds: Field<number> = v.pipe(
	v.union(
		[v.number(), v.pipe(v.string(), v.regex(/^\d+(\.\d+)?$/), v.transform(Number))],
		LEASE_MESSAGE,
	),
	v.minValue(0.1, LEASE_MESSAGE),
);

const RANKS_MESSAGE = "expected ranks such as 0-7,16";

/** Most ranks that text may name: beyond any training job. */
const MOST_RANKS = 1 << 20;

/** `0-7,16` as numbers; `undefined` when it is something else. */
function readRanks(value: unknown): unknown {
	if (typeof value !== "string") return value;
	const ranks: number[] = [];
	for (const part of value.split(",")) {
		const [, first, last = first] = /^\s*(\d{1,7})(?:\s*-\s*(\d{1,7}))?\s*$/.exec(part) ?? [];
		if (first === undefined || Number(last) - Number(first) >= MOST_RANKS) return undefined;
		if (Number(last) < Number(first)) return undefined;
		for (let rank = Number(first); rank <= Number(last); rank++) ranks.push(rank);
	}
	return ranks;
}

const ranks: Field<number[]> = v.pipe(
	v.unknown(),
	v.transform(readRanks),
	v.pipe(v.array(count, RANKS_MESSAGE), v.nonEmpty(RANKS_MESSAGE)),
);

const DTYPE_CHOICES = ["keep", "bfloat16", "float16", "float32"] as const;

const DEVICES = ["cpu", "webgpu", "auto"] as const;

const FAMILY_MESSAGE =
	"expected the name of a model family, the path of a family file, or a family";

/** What is wrong with a family itself is found, all of it, when it is read. */
const family: Field<string | Family> = v.union(
	[
		v.pipe(v.string(), v.trim(), v.nonEmpty(FAMILY_MESSAGE)),
		v.custom<Family>((value) => typeof value === "object" && value !== null, FAMILY_MESSAGE),
	],
	FAMILY_MESSAGE,
);

const conversionEntries = {
	repo: nonEmptyText("a Hub repository such as org/name, or a directory"),
	revision: v.optional(nonEmptyText("a branch, a tag or a commit")),
	family: v.optional(family),
	target: v.optional(nonEmptyText("the name of a key profile")),
	dtype: v.optional(v.picklist(DTYPE_CHOICES, `expected one of ${DTYPE_CHOICES.join(", ")}`)),
	keepQuantized: v.optional(v.boolean("expected true or false"), false),
	parallelism: v.optional(parallelismSchema, {}),
	like: v.optional(nonEmptyText("the directory of a checkpoint")),
	layout: v.optional(nonEmptyText("a layout file, or a directory of them")),
	memoryBytes: v.optional(memorySchema, DEFAULT_MEMORY_BYTES),
	connections: v.optional(
		wholeNumber(
			(value) => value >= 1 && value <= MAX_CONNECTIONS,
			`a whole number from 1 to ${MAX_CONNECTIONS}`,
		),
		DEFAULT_CONNECTIONS,
	),
	threads: v.optional(threads, "auto"),
	device: v.optional(v.picklist(DEVICES, `expected one of ${DEVICES.join(", ")}`), "auto"),
	localWorkers: v.optional(degree, 1),
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
	out: nonEmptyText("a directory for the checkpoint"),
	overwrite: v.optional(v.boolean("expected true or false"), false),
	worker: v.optional(worker, { index: 0, count: 1 }),
	takeover: v.optional(v.boolean("expected true or false"), true),
	leaseSeconds: v.optional(leaseSeconds, DEFAULT_LEASE_SECONDS),
	localOutput: v.optional(v.boolean("expected true or false"), false),
	ranks: v.optional(ranks),
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

/** A second thing that decides the layout: the path is that of the option which is one too many. */
function secondLayout({ like, layout, parallelism }: ConversionOptions): OptionIssue | undefined {
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

function parse<T extends ConversionOptions>(
	schema: v.GenericSchema<unknown, T>,
	input: unknown,
): T {
	const result = v.safeParse(schema, input);
	const second = result.success ? secondLayout(result.output) : undefined;
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
	return parse(ConversionOptionsSchema, input);
}

/**
 * As {@link parseConversionOptions}, with the directory the checkpoint goes to.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with the path of every wrong option; `facts.issues` is an {@link OptionIssue}[].
 */
export function parseConvertOptions(input: unknown): ConvertOptions {
	return parse(ConvertOptionsSchema, input);
}
