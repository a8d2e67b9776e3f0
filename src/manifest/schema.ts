import * as v from "valibot";
import { DTYPES, type Dtype } from "../core/dtype.ts";
import type { Expr, SourceExpr } from "../core/expr.ts";
import type { Source } from "../core/source.ts";
import type { Shape } from "../core/shape.ts";
import type { Manifest, ManifestTensor } from "./manifest.ts";
import {
	ELEMENT_BITS,
	type ElementCodec,
	SCALE_BYTES,
	type ScaleCodec,
} from "../core/quantisation.ts";

/*
 * The shape of the file `hf-stream-dcp.json`, member by member, its rows but for those of entries, of which there may be a million:
 * `read.ts` checks them by hand. `test/unit/manifest-schema.test.ts` compares the two, and keeps `docs/manifest.schema.json` as this says.
 */

const text = v.string();
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const seconds = v.pipe(v.number(), v.finite(), v.minValue(0));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const time = v.pipe(v.string(), v.isoTimestamp());
const list = <T extends v.GenericSchema>(item: T) => v.pipe(v.array(item), v.readonly());
const shape = list(count);
const dtype = v.picklist(Object.keys(DTYPES) as Dtype[]);

const sourceExpr: v.GenericSchema<SourceExpr> = v.strictObject({
	kind: v.literal("source"),
	name: text,
	dtype,
	shape,
});

/** What every node of a recipe has. */
const typed = { dtype, shape };

const recipe: v.GenericSchema<Expr> = v.lazy(() => recipeNode);

const recipeNode: v.GenericSchema<Expr> = v.variant("kind", [
	v.strictObject({ kind: v.literal("source"), name: text, ...typed }),
	v.strictObject({
		kind: v.literal("slice"),
		axis: count,
		start: count,
		end: count,
		of: recipe,
		...typed,
	}),
	v.strictObject({ kind: v.literal("permute"), axes: list(count), of: recipe, ...typed }),
	v.strictObject({ kind: v.literal("reshape"), of: recipe, ...typed }),
	v.strictObject({ kind: v.literal("concat"), axis: count, parts: list(recipe), ...typed }),
	v.strictObject({ kind: v.literal("stack"), axis: count, parts: list(recipe), ...typed }),
	v.strictObject({ kind: v.literal("fill"), value: v.number(), ...typed }),
	v.strictObject({ kind: v.literal("cast"), of: recipe, ...typed }),
	v.strictObject({
		kind: v.literal("dequant"),
		dtype: v.literal("float32"),
		shape,
		weight: sourceExpr,
		codec: v.picklist(Object.keys(ELEMENT_BITS) as ElementCodec[]),
		scales: sourceExpr,
		scaleCodec: v.picklist(Object.keys(SCALE_BYTES) as ScaleCodec[]),
		block: shape,
	}),
]);

const note = v.strictObject({ name: text, reason: text });

/** Names of facts, and what they are. */
const command = v.pipe(v.record(text, text), v.readonly());

const facts = v.strictObject({
	layers: count,
	attentionHeads: count,
	keyValueHeads: count,
	otherHeads: v.optional(list(v.strictObject({ count, what: text }))),
	experts: count,
	tiedEmbeddings: v.boolean(),
});

const rules = v.strictObject({
	kind: v.picklist(["torchtitan", "fsdp"]),
	fusedQkv: v.boolean(),
	expertThreshold: v.picklist(["fsdp", "fsdp_tp", "never"]),
	expertTensorParallel: v.boolean(),
	predictsTokens: v.optional(v.boolean()),
});

const degree = v.optional(v.pipe(v.number(), v.safeInteger()));

const mesh = v.strictObject({
	dpReplicate: degree,
	dpShard: degree,
	tp: degree,
	cp: degree,
	pp: degree,
	ep: degree,
	etp: degree,
	worldSize: degree,
	pipelineSchedule: v.optional(text),
	layersPerStage: degree,
	firstStageLessLayers: degree,
	lastStageLessLayers: degree,
	moduleFqnsPerModelPart: v.optional(list(list(text))),
});

const work = {
	seconds,
	fetchedBytes: count,
	requests: count,
	retries: count,
	writtenBytes: count,
	entries: count,
	resumedEntries: count,
};

const point = v.pipe(v.strictTuple([seconds, count, count, count]), v.readonly());

const timeline = v.strictObject({
	share: count,
	begun: time,
	ended: time,
	attempts: count,
	takenOver: v.boolean(),
	points: list(point),
});

const worker = v.strictObject({
	worker: count,
	host: text,
	shares: list(count),
	takeovers: count,
	...work,
	timelines: v.optional(list(timeline)),
});

const summary = v.strictObject({
	format: v.literal("hf-stream-dcp summary 1"),
	tool: text,
	command,
	planId: sha256,
	commit: text,
	begun: time,
	ended: time,
	seconds,
	shares: count,
	dataBytes: count,
	files: count,
	metadataBytes: count,
	fetchedBytes: count,
	requests: count,
	retries: count,
	takeovers: count,
	workers: list(worker),
});

const source = v.strictObject({
	repo: text,
	commit: text,
	config: v.optional(v.unknown()),
	files: list(
		v.strictObject({
			path: text,
			bytes: count,
			headerBytes: count,
			sha256: v.exactOptional(sha256),
		}),
	),
	tensors: list(v.pipe(v.strictTuple([text, dtype, shape, count, count, count]), v.readonly())),
});

/** A row of `source.tensors`. */
export type SourceRow = readonly [
	name: string,
	dtype: Dtype,
	shape: Shape,
	/** Index in `source.files`. */
	file: number,
	begin: number,
	end: number,
];

/** What a manifest says in other words than {@link Manifest} does: source tensors as rows, tensors without their entries. */
export interface ManifestHead extends Omit<Manifest, "source" | "tensors"> {
	/** What the columns of rows are. */
	readonly columns: { readonly [rows: string]: readonly string[] };
	readonly source: Omit<Source, "tensors" | "config"> & {
		readonly config?: unknown;
		readonly tensors: readonly SourceRow[];
	};
	readonly tensors: readonly Omit<ManifestTensor, "entries">[];
}

const HEAD = {
	format: v.literal("hf-stream-dcp manifest 1"),
	tool: text,
	planVersion: count,
	planId: sha256,
	command,
	family: text,
	target: text,
	facts,
	rules,
	layout: v.strictObject({ description: text, worldSize: count, mesh: v.optional(mesh) }),
	hash: v.picklist(["sha256", "none"]),
	ranks: v.optional(text),
	metadata: v.strictObject({ bytes: count, sha256 }),
	columns: v.pipe(v.record(text, list(text)), v.readonly()),
	source,
	files: list(v.strictObject({ name: text, bytes: count })),
	holders: list(text),
	tensors: list(v.strictObject({ fqn: text, dtype, shape, recipe })),
	tied: list(note),
	dropped: list(note),
	synthesised: list(text),
	dequantised: list(note),
	summary,
} as const;

/** The file but for `entries` and `sha256`. */
export const manifestHead: v.GenericSchema<ManifestHead> = v.strictObject(HEAD);

const row = [count, shape, shape, count, count, count, count] as const;
const crc32 = v.pipe(count, v.maxValue(0xffff_ffff));

/** All of the file. Rows end with the last column that has a value. */
export const manifestFile: v.GenericSchema = v.strictObject({
	...HEAD,
	entries: v.array(
		v.union([
			v.strictTuple([...row]),
			v.strictTuple([...row, crc32]),
			v.strictTuple([...row, crc32, sha256]),
			v.strictTuple([...row, crc32, sha256, v.pipe(list(count), v.minLength(2))]),
		]),
	),
	sha256,
});

/** Schemas that contain themselves, by name. */
export const RECURSIVE: { readonly recipe: v.GenericSchema<Expr> } = { recipe };
