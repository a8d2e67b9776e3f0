import * as v from "valibot";
import type { DeviceOption } from "./core/device.ts";
import type { HashOption } from "./core/ports.ts";
import type { ParallelismInput } from "./layout/parallelism.ts";
import type { Family } from "./models/family.ts";
import type { WorkerIdentity } from "./options.ts";
import type { TargetDtype } from "./plan/create-plan.ts";
import type { ThreadsOption } from "./threads/choose-threads.ts";

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

/** What a single option may be: also as text, as flags give it. */
export type Field<T> = v.GenericSchema<unknown, T>;

/** A whole number that `isAllowed`, also as decimal text. Meshes too large to handle are the layout's to refuse. */
export function wholeNumber(isAllowed: (value: number) => boolean, allowed: string): Field<number> {
	const message = `expected ${allowed}`;
	return v.pipe(
		v.union(
			[v.number(), v.pipe(v.string(), v.regex(/^\s*-?\d+\s*$/), v.transform(Number))],
			message,
		),
		v.check((value) => Number.isSafeInteger(value) && isAllowed(value), message),
	);
}

/** A degree of the mesh, or a number of processes: at least 1. */
export const degree: Field<number> = wholeNumber(
	(value) => value >= 1,
	"a whole number of at least 1",
);
/** A whole number that may be 0. */
export const count: Field<number> = wholeNumber(
	(value) => value >= 0,
	"a whole number of at least 0",
);
const shardDegree = wholeNumber(
	(value) => value >= 1 || value === -1,
	"a whole number of at least 1, or -1 for the ranks that are left",
);

/** Text that is not blank; `what` it is, for people. */
export function nonEmptyText(what: string): Field<string> {
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

/** The mesh of the training job. */
export const parallelism: Field<ParallelismInput> = v.strictObject({
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

/** Bytes, also as {@link parseSize} reads them. */
export const memoryBytes: Field<number> = v.pipe(
	v.union([v.number(), v.string()], MEMORY_MESSAGE),
	v.transform((value) => (typeof value === "string" ? (parseSize(value) ?? value) : value)),
	v.pipe(v.number(MEMORY_MESSAGE), v.safeInteger(MEMORY_MESSAGE), v.minValue(1, MEMORY_MESSAGE)),
);

const THREADS_MESSAGE = `a whole number from 1 to ${MAX_THREADS}, or auto`;

/** A number of threads, or `auto`. */
export const threads: Field<ThreadsOption> = v.union(
	[v.literal("auto"), wholeNumber((value) => value >= 1 && value <= MAX_THREADS, THREADS_MESSAGE)],
	`expected ${THREADS_MESSAGE}`,
);

/** Which of how many workers. */
export const worker: Field<WorkerIdentity> = v.pipe(
	v.strictObject({
		index: wholeNumber((value) => value >= 0, "a whole number of at least 0"),
		count: wholeNumber((value) => value >= 1, "a whole number of at least 1"),
	}),
	v.check((own) => own.index < own.count, "expected an index below the number of workers"),
);

const LEASE_MESSAGE = "expected a number of seconds of at least 0.1";

/** Seconds, also as text. */
export const leaseSeconds: Field<number> = v.pipe(
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

/** Ranks of the training job, also as `0-7,16`. */
export const ranks: Field<number[]> = v.pipe(
	v.unknown(),
	v.transform(readRanks),
	v.pipe(v.array(count, RANKS_MESSAGE), v.nonEmpty(RANKS_MESSAGE)),
);

const DTYPES = ["keep", "bfloat16", "float16", "float32"] as const;

const DEVICES = ["cpu", "webgpu", "auto"] as const;

const FAMILY_MESSAGE =
	"expected the name of a model family, the path of a family file, or a family";

/** What is wrong with a family itself is found, all of it, when it is read. */
export const family: Field<string | Family> = v.union(
	[
		v.pipe(v.string(), v.trim(), v.nonEmpty(FAMILY_MESSAGE)),
		v.custom<Family>((value) => typeof value === "object" && value !== null, FAMILY_MESSAGE),
	],
	FAMILY_MESSAGE,
);

/** What floats are stored as. */
export const dtype: Field<TargetDtype> = v.picklist(DTYPES, `expected one of ${DTYPES.join(", ")}`);

/** What is computed of every entry beside its CRC-32. */
export const hash: Field<HashOption> = v.picklist(["sha256", "none"], "expected sha256 or none");

/** What reshards. */
export const device: Field<DeviceOption> = v.picklist(
	DEVICES,
	`expected one of ${DEVICES.join(", ")}`,
);

const FACTOR_MESSAGE = "expected a number of at least 1";

/** How many times something else, also as text. */
export const factor: Field<number> = v.pipe(
	v.union(
		[v.number(), v.pipe(v.string(), v.regex(/^\d+(\.\d+)?$/), v.transform(Number))],
		FACTOR_MESSAGE,
	),
	v.minValue(1, FACTOR_MESSAGE),
);
