import * as v from "valibot";
import { type Dtype, isDtype } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import type { Placement } from "./chunk.ts";
import { layoutInvalid } from "./invalid.ts";
import { MAX_RANKS } from "./parallelism.ts";
import { parsePlacement, PLACEMENT_FORMS } from "./placement-text.ts";

/** An array of ranks with names for its dimensions, once or several times over. */
export interface FileMesh {
	/** Names of its dimensions, outermost first; for people. */
	readonly dims: readonly string[];
	readonly shape: Shape;
	/** Row-major; of each of the meshes of this shape, one after the other. */
	readonly ranks: readonly number[];
}

/** How the tensors are placed whose names fit. */
export interface FileRule {
	/** A name; `*` stands for any part of one segment, `**` for any text. */
	readonly fqn: string;
	/** Name of a mesh. */
	readonly mesh: string;
	/** One per dimension of the mesh. */
	readonly placements: readonly Placement[];
	/** Global shape that the tensor must have. */
	readonly shape: Shape | undefined;
	/** What it is stored as, unless the user says otherwise. */
	readonly dtype: Dtype | undefined;
}

/** A `layout.json`. */
export interface LayoutFile {
	readonly version: 1;
	/** Ranks of the training job. */
	readonly worldSize: number;
	/** The rank that wrote the file, if one did: it says what it knows, and the files of other ranks the rest. */
	readonly rank: number | undefined;
	readonly meshes: { readonly [name: string]: FileMesh };
	/** The first that fits a name counts. */
	readonly tensors: readonly FileRule[];
}

const count = (allowed: string, min: number) =>
	v.pipe(
		v.number(`expected ${allowed}`),
		v.safeInteger(`expected ${allowed}`),
		v.minValue(min, `expected ${allowed}`),
	);

const size = count("a whole number of at least 1", 1);
const length = count("a whole number of at least 0", 0);
const name = v.pipe(v.string("expected a name"), v.nonEmpty("expected a name"));

const placement = v.pipe(
	v.string(`expected ${PLACEMENT_FORMS}`),
	v.rawTransform(({ dataset, addIssue, NEVER }): Placement => {
		const read = parsePlacement(dataset.value);
		if (read !== undefined) return read;
		addIssue({ message: `expected ${PLACEMENT_FORMS}` });
		return NEVER;
	}),
);

/** Nested lists of ranks as one, in their order. */
const ranks = v.pipe(
	v.array(v.unknown(), "expected a list of ranks"),
	v.transform((list) => list.flat(Number.POSITIVE_INFINITY)),
	v.array(length, "expected a list of ranks"),
	v.check((list) => new Set(list).size === list.length, "a rank occurs twice"),
);

const dtype = v.custom<Dtype>(
	(value) => typeof value === "string" && isDtype(value),
	"expected the name of a torch dtype, such as bfloat16",
);

const mesh = v.strictObject({
	dims: v.nullish(v.array(name, "expected a list of names")),
	shape: v.array(size, "expected the sizes of the dimensions"),
	ranks: v.optional(ranks),
});

const rule = v.strictObject({
	fqn: name,
	mesh: name,
	placements: v.array(placement, "expected one placement for each dimension of the mesh"),
	shape: v.optional(v.array(length, "expected the sizes of the tensor's dimensions")),
	dtype: v.optional(dtype),
});

const layout = v.strictObject({
	version: v.literal(1, "expected 1, the only version"),
	worldSize: v.pipe(size, v.maxValue(MAX_RANKS, `expected at most ${MAX_RANKS} ranks`)),
	rank: v.optional(length),
	meshes: v.record(name, mesh, "expected meshes by name"),
	tensors: v.array(rule, "expected a list of rules"),
});

/** How many of a job's ranks say nothing in `files`: 0 where a file is not one rank's, but that of all. */
export function countSilentRanks(files: readonly LayoutFile[]): number {
	const ranksHeard = new Set<number>();
	for (const { rank } of files) {
		if (rank === undefined) return 0;
		ranksHeard.add(rank);
	}
	return Math.max(0, (files[0]?.worldSize ?? 0) - ranksHeard.size);
}

/**
 * Reads the JSON of a layout and checks it as far as it goes without the model.
 *
 * @param where - What the file is called in messages.
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` with the path of everything that is wrong: `tensors.3.placements.0: expected …`.
 */
export function parseLayoutFile(text: string, where: string): LayoutFile {
	const read = v.safeParse(layout, parseJson(text, where));
	if (!read.success) throw invalidAt(where, read.issues.map(describeIssue));
	const { meshes, tensors, ...rest } = read.output;
	const problems: string[] = [];
	const complete: { [name: string]: FileMesh } = {};
	for (const [key, given] of Object.entries(meshes)) {
		complete[key] = completeMesh(given, rest.worldSize, (message, field) =>
			problems.push(`meshes.${key}${field}: ${message}`),
		);
	}
	for (const [index, { mesh: on, placements }] of tensors.entries()) {
		const dims = complete[on]?.shape.length;
		if (dims === undefined) problems.push(`tensors.${index}.mesh: there is no mesh "${on}"`);
		else if (placements.length !== dims) {
			problems.push(
				`tensors.${index}.placements: ${placements.length} placements on ${dims} dimensions`,
			);
		}
	}
	if (problems.length > 0) throw invalidAt(where, problems);
	return {
		...rest,
		rank: rest.rank,
		meshes: complete,
		tensors: tensors.map((one) => ({ ...one, shape: one.shape, dtype: one.dtype })),
	};
}

function parseJson(text: string, where: string): unknown {
	try {
		return JSON.parse(text) as unknown;
	} catch (error) {
		throw invalidAt(where, [`no JSON: ${error instanceof Error ? error.message : String(error)}`]);
	}
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
	const path = v.getDotPath(issue) ?? "";
	const isUnknown = issue.type === "strict_object" && issue.expected === "never";
	const isMissing = issue.input === undefined && issue.type !== "custom";
	const message = isUnknown ? "there is no such key" : isMissing ? "is missing" : issue.message;
	const { input } = issue;
	const isShown = typeof input === "string" || typeof input === "number";
	const got = isShown && !isUnknown ? `, got ${JSON.stringify(input)}` : "";
	return `${path === "" ? "the whole" : path}: ${message}${got}`;
}

function completeMesh(
	given: v.InferOutput<typeof mesh>,
	worldSize: number,
	report: (message: string, field: string) => void,
): FileMesh {
	const { shape } = given;
	const product = shape.reduce((all, one) => all * one, 1);
	const members = given.ranks ?? Array.from({ length: product }, (_, rank) => rank);
	if (given.ranks === undefined && product !== worldSize) {
		report(`has ${product} of ${worldSize} ranks; list them in "ranks"`, ".shape");
	}
	if (members.length === 0 || members.length % product !== 0) {
		report(`${members.length} ranks are no multiple of the ${product} of the shape`, ".ranks");
	}
	const beyond = members.find((rank) => rank >= worldSize);
	if (given.ranks !== undefined && beyond !== undefined) {
		report(`rank ${beyond} is not in a job of ${worldSize} ranks`, ".ranks");
	}
	const dims = given.dims ?? shape.map((_, axis) => `dim${axis}`);
	if (dims.length !== shape.length) {
		report(`${dims.length} names for ${shape.length} dimensions`, ".dims");
	}
	return { dims, shape, ranks: members };
}

/** Lines of a message before it only counts. */
const SHOWN = 20;

function invalidAt(where: string, problems: readonly string[]): Error {
	const shown = problems.slice(0, SHOWN).map((problem) => `  ${problem}`);
	const hidden = problems.length - shown.length;
	if (hidden > 0) shown.push(`  … and ${hidden} more`);
	return layoutInvalid(
		[`${where} is no layout:`, ...shown].join("\n"),
		"docs/layouts.md describes the format; docs/dump_layout.py writes it.",
		{ problems },
	);
}
