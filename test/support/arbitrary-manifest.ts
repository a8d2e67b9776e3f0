import * as fc from "fast-check";
import { type Box, boxNumel, wholeBox } from "../../src/core/box.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import { type Expr, sourcesOf } from "../../src/core/expr.ts";
import { formatRankRanges } from "../../src/core/rank-ranges.ts";
import type { Manifest, ManifestEntry } from "../../src/manifest/manifest.ts";
import { arbitraryExpr } from "./arbitrary-expr.ts";

const hex = fc
	.array(fc.integer({ min: 0, max: 15 }), { minLength: 64, maxLength: 64 })
	.map((digits) => digits.map((digit) => digit.toString(16)).join(""));
const count = fc.maxSafeNat();
const text = fc.string({ unit: "binary", maxLength: 20 });
const note = fc.record({ name: text, reason: text });
/** Names that change what an object is are refused. */
const commandKey = text.filter((one) => !["__proto__", "prototype", "constructor"].includes(one));
const command = fc.dictionary(commandKey, text, { maxKeys: 4, noNullPrototype: true });

const summary: fc.Arbitrary<Manifest["summary"]> = fc.record({
	format: fc.constant("hf-stream-dcp summary 1" as const),
	tool: text,
	command,
	planId: hex,
	commit: text,
	begun: fc.constant("2026-01-02T03:04:05.678Z"),
	ended: fc.constant("2026-01-02T03:04:06.000Z"),
	seconds: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map(Math.abs),
	shares: count,
	dataBytes: count,
	files: count,
	metadataBytes: count,
	fetchedBytes: count,
	requests: count,
	retries: count,
	takeovers: count,
	workers: fc.array(
		fc.record(
			{
				worker: count,
				host: text,
				shares: fc.array(count),
				takeovers: count,
				seconds: fc.nat(),
				fetchedBytes: count,
				requests: count,
				retries: count,
				writtenBytes: count,
				entries: count,
				resumedEntries: count,
				timelines: fc.array(
					fc.record({
						share: count,
						begun: fc.constant("2026-01-02T03:04:05.678Z"),
						ended: fc.constant("2026-01-02T03:04:06.000Z"),
						attempts: count,
						takenOver: fc.boolean(),
						points: fc.array(fc.tuple(fc.nat(), count, count, count)),
					}),
				),
			},
			{
				requiredKeys: [
					"worker",
					"host",
					"shares",
					"takeovers",
					"seconds",
					"fetchedBytes",
					"requests",
					"retries",
					"writtenBytes",
					"entries",
					"resumedEntries",
				],
			},
		),
		{ maxLength: 3 },
	),
});

const head = fc.record({
	tool: text,
	planVersion: count,
	planId: hex,
	command,
	family: text,
	target: text,
	facts: fc.record(
		{
			layers: count,
			attentionHeads: count,
			keyValueHeads: count,
			experts: count,
			tiedEmbeddings: fc.boolean(),
			otherHeads: fc.array(fc.record({ count, what: text })),
		},
		{ requiredKeys: ["layers", "attentionHeads", "keyValueHeads", "experts", "tiedEmbeddings"] },
	),
	rules: fc.record(
		{
			kind: fc.constantFrom("torchtitan" as const, "fsdp" as const),
			fusedQkv: fc.boolean(),
			expertThreshold: fc.constantFrom("fsdp" as const, "fsdp_tp" as const, "never" as const),
			expertTensorParallel: fc.boolean(),
			predictsTokens: fc.boolean(),
		},
		{ requiredKeys: ["kind", "fusedQkv", "expertThreshold", "expertTensorParallel"] },
	),
	layout: fc.record(
		{
			description: text,
			worldSize: fc.constant(16),
			mesh: fc.record(
				{
					dpShard: fc.constantFrom(-1, 4),
					tp: fc.constant(4),
					pipelineSchedule: text,
					moduleFqnsPerModelPart: fc.array(fc.array(text)),
				},
				{ requiredKeys: [] },
			),
		},
		{ requiredKeys: ["description", "worldSize"] },
	),
	metadata: fc.record({ bytes: count, sha256: hex }),
	tied: fc.array(note, { maxLength: 2 }),
	dropped: fc.array(note, { maxLength: 2 }),
	synthesised: fc.array(text, { maxLength: 2 }),
	dequantised: fc.array(note, { maxLength: 2 }),
	summary,
});

/** How much of an entry's sums is known. */
const sums = fc.constantFrom("nothing", "crc32", "hash", "parts");

/** Manifests that are sound in themselves; the files that they speak of are nowhere. */
export function arbitraryManifest(): fc.Arbitrary<Manifest> {
	return fc
		.record({
			head,
			exprs: fc.array(arbitraryExpr(), { minLength: 1, maxLength: 3 }),
			rows: fc.integer({ min: 1, max: 4 }),
			config: fc.option(fc.jsonValue(), { nil: undefined }),
			hashes: fc.infiniteStream(fc.tuple(sums, hex, fc.integer({ min: 0, max: 0xffff_ffff }))),
			ranks: fc.option(fc.constant("0-3,7"), { nil: undefined }),
		})
		.map(({ head: facts, exprs, rows, config, hashes, ranks }) => {
			const named = exprs.map((expr, index) => renamed(expr, `t${index}.`));
			const { sources, bytes } = layOut(named);
			let place = 0;
			const tensors = named.map((recipe, index) => ({
				fqn: `tensor ${index} \u{1F300}"`,
				dtype: recipe.dtype,
				shape: recipe.shape,
				recipe,
				entries: cutRows(recipe.shape, rows).map((box): ManifestEntry => {
					const dataBytes = boxNumel(box) * itemBytes(recipe.dtype);
					const [known, hash, crc32] = hashes.next().value;
					const offset = place;
					place += dataBytes + 10;
					return {
						box,
						file: 0,
						offset,
						length: dataBytes + 10,
						holders: index % 2,
						...(known === "nothing" ? undefined : { crc32 }),
						...(known === "hash" || known === "parts" ? { hash } : undefined),
						...(known === "parts" && dataBytes > 1 ? { ends: [1, dataBytes] } : undefined),
					};
				}),
			}));
			return {
				format: "hf-stream-dcp manifest 1",
				...facts,
				source: {
					repo: "org/name",
					commit: "local",
					files: [{ path: "a/b.safetensors", bytes, headerBytes: 8, sha256: "0".repeat(64) }],
					tensors: sources,
					config,
				},
				hash: "sha256",
				...(ranks === undefined ? undefined : { ranks }),
				files: [{ name: "__0_0.distcp", bytes: place }],
				holders: [formatRankRanges([0, 1, 2, 15]), "3"],
				tensors,
			};
		});
}

/** The same expression over sources of other names: no two expressions share one. */
function renamed(expr: Expr, prefix: string): Expr {
	const json = JSON.stringify(expr, (key, value: unknown) =>
		key === "name" ? `${prefix}${String(value)}` : value,
	);
	return JSON.parse(json) as Expr;
}

function layOut(exprs: readonly Expr[]): {
	readonly sources: Manifest["source"]["tensors"];
	readonly bytes: number;
} {
	let end = 8;
	const sources = exprs.flatMap(sourcesOf).map(({ name, dtype, shape }) => {
		const begin = end;
		end += shape.reduce((a, b) => a * b, itemBytes(dtype));
		return { name, dtype, shape, file: "a/b.safetensors", begin, end };
	});
	return { sources, bytes: end };
}

/** Boxes of at most so many rows each. */
function cutRows(shape: readonly number[], rows: number): readonly Box[] {
	const [length, ...rest] = shape;
	if (length === undefined) return [wholeBox(shape)];
	return Array.from({ length: Math.ceil(length / rows) }, (_, i) => ({
		offset: [i * rows, ...rest.map(() => 0)],
		size: [Math.min(rows, length - i * rows), ...rest],
	}));
}
