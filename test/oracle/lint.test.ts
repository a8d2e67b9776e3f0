import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lintCheckpoint, type LintReport } from "../../src/conversion/lint-checkpoint.ts";
import { convert, type LintOptions, parseConvertOptions } from "../../src/index.ts";
import { readCheckpointIndex } from "../../src/dcp/checkpoint-reader.ts";
import { writeModel } from "../support/model-directory.ts";
import { smallLlama3 } from "../support/model-sources.ts";
import { findPython } from "../support/python.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import {
	hybrid,
	layoutFileOf,
	parallel,
	type Placing,
	sharded,
	stateDict,
	type Tensors,
	whole,
} from "./lint-cases.ts";
import { entriesOf, withMetadata, withoutFile, withShortFile } from "./lint-damage.ts";
import { type LintRankReport, type LintStep, type LintTensor, Oracle } from "./oracle.ts";

const search = findPython(["torch"]);
const why = "skip" in search ? `: ${search.skip}` : "";

/** A load, by torch and by lint. */
interface Load {
	readonly checkpoint: string;
	readonly tensors: Tensors;
	readonly objects?: LintStep["objects"];
	/** What lint is asked, beside the directory. @default the layout file of `tensors` */
	readonly options?: Omit<LintOptions, "directory">;
	/** The checkpoint has other values than those that the oracle saves. */
	readonly anyValues?: boolean;
}

describe.skipIf("skip" in search)(`what torch reads and raises is foretold${why}`, () => {
	const resources = new Resources();
	const loads4 = new Map<string, Load>();
	const loads8 = new Map<string, Load>();
	const done = new Map<string, { readonly ranks: LintRankReport[]; readonly report: LintReport }>();
	let folder: string;
	let oracle: Oracle;
	let bufferBytes = 0;

	const at = (name: string): string => join(folder, name);
	const save = (name: string, tensors: Tensors, more: Partial<LintStep> = {}): LintStep => ({
		do: "save",
		checkpoint: at(name),
		tensors,
		...more,
	});
	const loading = (checkpoint: string, place: Placing): Load => ({
		checkpoint: at(checkpoint),
		tensors: stateDict(place),
	});

	/** Saves, then loads, in one group of ranks. */
	async function run(world_size: number, saves: readonly LintStep[], loads: Map<string, Load>) {
		const steps = [...loads.values()].map(({ checkpoint, tensors, objects = {} }): LintStep => ({
			do: "load",
			checkpoint,
			tensors,
			objects,
		}));
		const answer = await oracle.ask({
			kind: "lint",
			world_size,
			folder,
			steps: [...saves, ...steps],
		});
		({ bufferBytes } = answer);
		const reports = answer.steps.slice(saves.length);
		for (const [index, [name, load]] of [...loads].entries()) {
			const layout = at(`layout-${world_size}-${index}.json`);
			await writeFile(layout, JSON.stringify(layoutFileOf(world_size, load.tensors)));
			const options = load.options ?? { layout };
			const report = await lintCheckpoint({
				directory: load.checkpoint,
				readBufferBytes: bufferBytes,
				...options,
			});
			const ranks = (reports[index] as LintRankReport[]).map((rank) =>
				load.anyValues === true ? { ...rank, wrong: [] } : rank,
			);
			done.set(`${name} ×${world_size}`, { ranks, report });
		}
	}

	async function convertSmall(name: string, model: string, options: object): Promise<void> {
		await convert(parseConvertOptions({ repo: at(model), out: at(name), ...options }));
	}

	/** The tensors of a checkpoint, along dim 0. */
	async function sharedOut(name: string, ranks: number): Promise<Tensors> {
		const { tensors } = await readCheckpointIndex(at(name));
		return Object.fromEntries(
			tensors.map(({ fqn, shape, dtype }) => {
				const placing = shape.length === 0 ? {} : sharded(ranks)(fqn, shape);
				return [fqn, { shape, dtype, ...placing }];
			}),
		);
	}

	beforeAll(async () => {
		folder = resources.use(await temporaryDirectory()).path;
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));

		await writeModel(at("llama"), smallLlama3());
		await convertSmall("ours", "llama", { target: "hf", parallelism: { dpShard: 4 } });
		await convertSmall("ours8", "llama", { target: "hf", parallelism: { dpShard: 8 } });
		await convertSmall("older", "llama", { target: "torchtitan@2025-10" });
		await convertSmall("newest", "llama", { parallelism: { dpShard: 4 } });

		const all = stateDict(whole);
		const { tiny: _, ...withoutTiny } = all;
		const { tiny: __, ...withoutTiny4 } = stateDict(sharded(4));
		await run(
			1,
			[
				save("full", all, { objects: { step: 7, note: "x".repeat(9000) } }),
				save("object", withoutTiny, { objects: { tiny: 3 } }),
				save("lacking", withoutTiny),
				save(
					"nested",
					renamed(all, (fqn) => `model.${fqn}`),
				),
				save(
					"wrapped",
					renamed(all, (fqn) => `_orig_mod.${fqn}`),
				),
			],
			new Map(),
		);
		await run(
			3,
			[
				save("shard3", stateDict(sharded(3))),
				save("ranked3", stateDict(sharded(3)), { options: { use_collectives: false } }),
			],
			new Map(),
		);

		loads8.set("full by FSDP × TP", loading("full", parallel(4, 2)));
		loads8.set("FSDP × TP × EP by itself", loading("parallel", parallel(4, 2, 8)));
		loads8.set("FSDP × TP × EP by FSDP", loading("parallel", sharded(8)));
		loads8.set("FSDP × 3 by FSDP × TP × EP", loading("shard3", parallel(4, 2, 4)));
		await run(
			8,
			[
				save("shard8", stateDict(sharded(8))),
				save("parallel", stateDict(parallel(4, 2, 8))),
				save("threads", stateDict(sharded(8)), { writer: { thread_count: 3 } }),
				save("files", stateDict(sharded(8)), { writer: { single_file_per_rank: false } }),
				save("ranked8", stateDict(sharded(8)), { options: { use_collectives: false } }),
			],
			loads8,
		);

		for (const [name, load] of Object.entries(matchingAndNot())) loads4.set(name, load);
		for (const [name, load] of Object.entries(await ourOwn())) loads4.set(name, load);
		for (const [name, load] of Object.entries(await bad())) loads4.set(name, load);
		await run(
			4,
			[
				save("shard4", stateDict(sharded(4))),
				save("columns4", stateDict(sharded(4, 1))),
				save("hybrid", stateDict(hybrid(2, 2))),
				save("like object", withoutTiny4, { objects: { tiny: 3 } }),
				save("like step", stateDict(sharded(4)), { objects: { step: 1, more: 2 } }),
			],
			loads4,
		);
	}, 120_000);
	afterAll(() => resources.dispose());

	function matchingAndNot(): { readonly [name: string]: Load } {
		return {
			"full by FSDP": loading("full", sharded(4)),
			"full by DDP": loading("full", whole),
			"FSDP × 8": loading("shard8", sharded(4)),
			"FSDP × 3": loading("shard3", sharded(4)),
			"FSDP × 4, its own": loading("shard4", sharded(4)),
			"columns by rows": loading("columns4", sharded(4)),
			"rows by columns": loading("shard4", sharded(4, 1)),
			"FSDP × 8 by HSDP": loading("shard8", hybrid(2, 2)),
			"HSDP by itself": loading("hybrid", hybrid(2, 2)),
			"FSDP × 8 by DDP": loading("shard8", whole),
			"a file for every entry": loading("files", sharded(4)),
			"three files for every rank": loading("threads", parallel(2, 2)),
			"FSDP × TP × EP by FSDP × TP": loading("parallel", parallel(2, 2)),
		};
	}

	async function ourOwn(): Promise<{ readonly [name: string]: Load }> {
		const mesh = { parallelism: { dpShard: 4 } };
		const [ours, ours8, newest] = await Promise.all(
			["ours", "ours8", "newest"].map((name) => sharedOut(name, 4)),
		);
		return {
			"ours, its own mesh": {
				checkpoint: at("ours"),
				tensors: ours!,
				options: {},
				anyValues: true,
			},
			"ours, cut for 8": {
				checkpoint: at("ours8"),
				tensors: ours8!,
				options: mesh,
				anyValues: true,
			},
			"ours, keys of an older release": {
				checkpoint: at("older"),
				tensors: newest!,
				options: { ...mesh, target: "torchtitan" },
				anyValues: true,
			},
		};
	}

	/** What a job had better not load. */
	async function bad(): Promise<{ readonly [name: string]: Load }> {
		const state = stateDict(sharded(4));
		const [wq, w1, norm] = [
			"layers.0.attention.wq.weight",
			"layers.0.feed_forward.w1.weight",
			"layers.0.attention_norm.weight",
		];
		const other = (fqn: string, change: Partial<LintTensor>): Tensors => ({
			...state,
			[fqn]: { ...state[fqn]!, ...change },
		});
		const full = (tensors: Tensors): Load => ({ checkpoint: at("full"), tensors });
		const damaged = (checkpoint: string): Load => ({ checkpoint, tensors: state });
		const eight = at("shard8");
		const grown = entriesOf(wq, (entries) => {
			const [first, ...rest] = entries;
			// The same rows once more, in the place of others.
			const box = { offset: [8, 0], size: first!.box.size };
			return [first!, { ...first!, box }, ...rest.slice(1)];
		});
		return {
			"a key is missing": { checkpoint: at("lacking"), tensors: state },
			"many keys are missing": full({ ...state, "mtp.w": state["tiny"]!, "a.b": state[wq]! }),
			"an extra key": full(Object.fromEntries(Object.entries(state).slice(0, 5))),
			"more rows": full(other(w1, { shape: [701, 256] })),
			"fewer columns": full(other(w1, { shape: [700, 255] })),
			"a dimension more": full(other(norm, { shape: [256, 1] })),
			"transposed, square": full(other(wq, { placements: ["Shard(dim=1)"] })),
			"a narrower dtype": full(other("scale", { dtype: "bfloat16" })),
			"a wider dtype": full(other(wq, { dtype: "float32" })),
			integers: full(other(wq, { dtype: "int64" })),
			"an object in a tensor's place": { checkpoint: at("object"), tensors: state },
			"an object that is missing": {
				checkpoint: at("full"),
				tensors: state,
				objects: { step: 1, more: 2 },
				options: { like: at("like step") },
			},
			"an object where a tensor is stored": {
				checkpoint: at("full"),
				tensors: Object.fromEntries(Object.entries(state).filter(([fqn]) => fqn !== "tiny")),
				objects: { tiny: 3 },
				options: { like: at("like object") },
			},
			"keys under model.": { checkpoint: at("nested"), tensors: state },
			"keys under model., asked for": {
				checkpoint: at("nested"),
				tensors: renamed(state, (fqn) => `model.${fqn}`),
			},
			"keys of a compiled model": { checkpoint: at("wrapped"), tensors: state },
			"a hole": damaged(
				await withMetadata(
					eight,
					at("hole"),
					entriesOf(w1, (entries) => entries.slice(1)),
				),
			),
			"a tensor without chunks": damaged(
				await withMetadata(
					eight,
					at("none"),
					entriesOf(norm, () => []),
				),
			),
			"an overlap": damaged(await withMetadata(eight, at("overlap"), grown)),
			"an entry too short": damaged(
				await withMetadata(
					eight,
					at("short entry"),
					entriesOf(w1, (entries, { tensors }) => {
						const tiny = tensors.find(({ fqn }) => fqn === "tiny")!.entries[0]!;
						const { file, offset, length } = tiny;
						return [{ ...entries[0]!, file, offset, length }, ...entries.slice(1)];
					}),
				),
			),
			"a missing file": damaged(await withoutFile(eight, at("lost"), "__5_0.distcp")),
			"a missing file of nobody": {
				...damaged(await withoutFile(at("files"), at("lost one"), await fileOf(at("files"), wq))),
				tensors: Object.fromEntries(Object.entries(state).filter(([fqn]) => fqn !== wq)),
			},
			"a file cut off": damaged(await withShortFile(eight, at("cut off"), "__2_0.distcp", 100_000)),
			"metadata of 8 ranks each": { checkpoint: at("ranked8"), tensors: state },
			"metadata of 3 ranks each": { checkpoint: at("ranked3"), tensors: state },
			"more ranks than rows": full(other("tiny", {})),
		};
	}

	async function fileOf(directory: string, fqn: string): Promise<string> {
		const { tensors } = await readCheckpointIndex(directory);
		return tensors.find((tensor) => tensor.fqn === fqn)!.entries[0]!.file;
	}

	/** What became of a load in torch: what the first rank raised, or whether values are wrong. */
	function verdictOf(name: string): string {
		const { ranks } = done.get(name)!;
		const raised = ranks.find((one) => one.raised !== null)?.raised;
		if (raised !== undefined && raised !== null) return raised.type;
		return ranks.some(({ wrong }) => wrong.length > 0) ? "silent" : "fine";
	}

	it("tells every byte that every rank reads", () => {
		const loaded = [...done].filter(
			// Here each rank has an index of its own, which lint warns of and does not follow.
			([name, { ranks }]) => ranks.every(({ raised }) => raised === null) && !/metadata/.test(name),
		);
		expect(loaded.length).toBeGreaterThan(25);
		for (const [name, { ranks, report }] of loaded) {
			const { metadataBytes } = report.checkpoint;
			expect(
				report.costs!.ranks.map(({ readBytes }) => readBytes + metadataBytes),
				name,
			).toEqual(ranks.map(({ bytes }) => bytes));
		}
	});

	it("tells what fails, and how", () => {
		const failing = [...done.keys()].filter((name) => verdictOf(name) !== "fine");
		expect(failing.length).toBeGreaterThan(15);
		for (const [name, { report }] of done) {
			expect(toldOf(report), name).toContain(verdictOf(name));
			expect(report.isFit, name).toBe(verdictOf(name) === "fine");
		}
	});

	it("uses torch's own words", () => {
		for (const [name, { ranks, report }] of done) {
			const raised = ranks.find((one) => one.raised !== null)?.raised;
			const [told] = report.findings.flatMap((one) => one.raises ?? []);
			if (raised === undefined || raised === null || told === undefined) continue;
			if (!/^(RuntimeError: Missing|ValueError: Size)/.test(told)) continue;
			expect(`${raised.type}: ${raised.message}`, name).toBe(told);
		}
	});

	it("tells what is cast, and how much is lost", () => {
		const casts = (name: string): readonly string[] =>
			done
				.get(`${name} ×4`)!
				.report.findings.filter(({ kind }) => kind === "dtype")
				.map(({ severity, examples }) => `${severity} ${examples.join()}`);
		expect(casts("a narrower dtype")).toEqual(["warning scale: float32 → bfloat16"]);
		const wq = "layers.0.attention.wq.weight: bfloat16";
		expect(casts("a wider dtype")).toEqual([`note ${wq} → float32`]);
		expect(casts("integers")).toEqual([`warning ${wq} → int64`]);
		expect(casts("full by FSDP")).toEqual([]);
	});

	it("says whose keys they are", () => {
		const hint = (name: string): string | undefined =>
			done.get(`${name} ×4`)!.report.findings[0]?.hint;
		expect(hint("keys under model.")).toContain("--prefix model.");
		expect(hint("keys of a compiled model")).toContain("--prefix _orig_mod.");
		expect(hint("ours, keys of an older release")).toContain("--target torchtitan@2025-10");
	});

	it("refuses the cuts that torch cannot save and load", async () => {
		const shapes = [
			[7, 2],
			[8, 2],
			[9, 2],
			[13, 2],
		];
		const cases = shapes.map((shape) => ({ shape, tp: 0, fsdp: 0 }));
		const reports = await oracle.ask({ kind: "storable", fsdp: 3, tp: 2, cases });
		const saves = shapes.map((shape, index) =>
			save(`uneven-${index}`, { w: { shape, dtype: "float32" } }),
		);
		await run(1, saves, new Map());
		for (const [index, shape] of shapes.entries()) {
			const tensors = { w: { shape, dtype: "float32", ...parallel(3, 2)("w", shape) } };
			const [checkpoint, layout] = [at(`uneven-${index}`), at(`uneven-${index}.json`)];
			await writeFile(layout, JSON.stringify(layoutFileOf(6, tensors)));
			const { isFit, findings } = await lintCheckpoint({ directory: checkpoint, layout });
			expect(isFit, String(shape)).toBe(reports[index]!.fails === null);
			if (!isFit) expect(findings[0]?.kind).toBe("uneven");
		}
		expect(reports.filter(({ fails }) => fails === null).length).toBeGreaterThan(0);
		expect(reports.filter(({ fails }) => fails !== null).length).toBeGreaterThan(0);
	});
});

function renamed(tensors: Tensors, name: (fqn: string) => string): Tensors {
	return Object.fromEntries(Object.entries(tensors).map(([fqn, one]) => [name(fqn), one]));
}

/** What lint says becomes of it. */
function toldOf({ findings }: LintReport): readonly string[] {
	const [first] = findings.filter(({ severity }) => severity === "error");
	if (first === undefined) return ["fine"];
	return first.raises === undefined ? ["silent"] : first.raises.split(":")[0]!.split(" or ");
}
