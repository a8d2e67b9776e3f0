import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import {
	countRanges,
	type ModelHub,
	openModelHub,
	readSavedFiles,
	Resources,
	type SavedFile,
	temporaryDirectory,
} from "./conversion.ts";
import { LAYOUT_CASES, type LayoutCase, layoutFlags, layoutPath } from "./layouts.ts";
import { Oracle, type RankReport } from "./oracle.ts";
import { checkpointFiles } from "../support/job-state.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

const MODELS = [...new Set(LAYOUT_CASES.map(({ model }) => model))];

/** torchtitan's llama4 is the text model: these stay behind, unread. */
function isVision(tensor: string): boolean {
	return /^(vision_model|multi_modal_projector)\./.test(tensor);
}

/** Bytes of the tensors that a checkpoint is made of. */
function usedBytes(files: readonly SavedFile[]): number {
	const tensors = files.flatMap((file) => file.tensors).filter(({ name }) => !isVision(name));
	return tensors.reduce((sum, { begin, end }) => sum + end - begin, 0);
}

/** One line per rank of what must hold; compared as a whole so that a failure shows every rank. */
function verdict(report: RankReport): object {
	return {
		mismatched: report.mismatched,
		partialReads: report.partialReads,
		bulkReads: report.bulkReads,
		amplification: report.readBytes / report.ownedBytes,
	};
}

describe.skipIf("skip" in search)(
	`torch loads what transformers saved, cut for its mesh${why}`,
	() => {
		const resources = new Resources();
		let folder: string;
		let oracle: Oracle;
		let hub: ModelHub;
		const expected = new Map<string, Promise<string>>();

		beforeAll(async () => {
			folder = resources.use(await temporaryDirectory()).path;
			oracle = resources.use(new Oracle("python" in search ? search.python : ""));
			await oracle.ask({ kind: "models", names: MODELS, directory: join(folder, "models") });
			hub = resources.use(await openModelHub(join(folder, "models")));
		});
		afterAll(() => resources.dispose());

		/** The state dict a release of torchtitan must find, computed once per model and release. */
		function expectedFile({ model, names }: LayoutCase): Promise<string> {
			const key = `${model}.${names}`;
			const file = join(folder, `${key}.safetensors`);
			const job = { kind: "expected", model: join(folder, "models", model), names, file } as const;
			const made = expected.get(key) ?? oracle.ask(job).then(() => file);
			expected.set(key, made);
			return made;
		}

		/** Converts as a user would, and returns what was asked of the Hub's storage meanwhile. */
		async function convert(
			layoutCase: LayoutCase,
			checkpoint: string,
			...flags: readonly string[]
		) {
			const { model, target, layout } = layoutCase;
			onTestFinished(() => rm(checkpoint, { recursive: true, force: true }));
			const before = hub.ranges().length;
			const where = ["--out", checkpoint, "--target", target, "--log-format", "json"];
			const result = await runCli([`tests/${model}`, ...where, ...layoutFlags(layout), ...flags], {
				HF_ENDPOINT: hub.endpoint,
				HF_HOME: join(folder, "home"),
			});
			expect(result.stderr + result.stdout, "the command line fails").toSatisfy(
				() => result.code === 0,
			);
			return countRanges(hub.ranges().slice(before));
		}

		async function expectEachUsedByteOnce(model: string, requested: { bytes: number }) {
			const files = await readSavedFiles(join(folder, "models", model));
			const headerBytes = files.reduce((sum, file) => sum + file.headerBytes, 0);
			expect(requested).toEqual({ bytes: headerBytes + usedBytes(files), repeated: 0 });
		}

		for (const layoutCase of LAYOUT_CASES) {
			const { setting, model, layout, layers } = layoutCase;
			it(`${model}, ${setting}: ${layout}`, async () => {
				const checkpoint = join(folder, "checkpoint");
				await expectEachUsedByteOnce(model, await convert(layoutCase, checkpoint));
				const report = await oracle.ask({
					kind: "load",
					layout: layoutPath(layout),
					checkpoint,
					expected: await expectedFile(layoutCase),
					...(layers === undefined ? {} : { layers }),
				});
				expect(report.stored).toEqual(report.demanded);
				expect(report.ranks.length).toBeGreaterThan(2);
				expect(report.ranks.map(verdict)).toEqual(
					report.ranks.map(({ items }) => ({
						mismatched: [],
						partialReads: [],
						bulkReads: items,
						amplification: 1,
					})),
				);
			});
		}

		/** A mesh with every kind of cut, on 8 ranks or more. */
		const busy = LAYOUT_CASES.find(
			({ model, setting }) => model === "qwen3-moe" && setting === "FSDP×TP×EP",
		)!;

		async function expectLoads(checkpoint: string, nodes?: number) {
			const report = await oracle.ask({
				kind: "load",
				layout: layoutPath(busy.layout),
				checkpoint,
				expected: await expectedFile(busy),
				...(busy.layers === undefined ? {} : { layers: busy.layers }),
				...(nodes === undefined ? {} : { nodes }),
			});
			expect(report.stored).toEqual(report.demanded);
			expect(report.ranks.map(({ mismatched }) => mismatched)).toEqual(report.ranks.map(() => []));
		}

		it.each([3, 8])("written by %i workers, each byte fetched once", async (workers) => {
			const checkpoint = join(folder, `of-${workers}-workers`);
			const { repeated } = await convert(busy, checkpoint, `--workers=${workers}`);
			expect(repeated).toBe(0);
			await expectLoads(checkpoint);
		});

		it("with a disk for every node: each rank finds what it needs on its own", async () => {
			const nodes = 4;
			const checkpoint = join(folder, "disks");
			for (let node = 0; node < nodes; node++) {
				const flags = ["--local-output", `--worker=${node}/${nodes}`];
				await convert(busy, join(checkpoint, String(node)), ...flags);
			}
			await expectLoads(checkpoint, nodes);
		});

		it("the smallest memory budget gives the same files and fetches nothing twice", async () => {
			const [roomy, tight] = [join(folder, "roomy"), join(folder, "tight")];
			await convert(busy, roomy);
			const requested = await convert(busy, tight, "--memory", "16MiB", "--connections", "2");
			await expectEachUsedByteOnce(busy.model, requested);
			expect(await hashFiles(tight)).toEqual(await hashFiles(roomy));
		});
	},
);

async function hashFiles(directory: string): Promise<{ readonly [file: string]: string }> {
	const names = checkpointFiles(directory);
	const hash = async (name: string) =>
		createHash("sha256")
			.update(await readFile(join(directory, name)))
			.digest("hex");
	return Object.fromEntries(
		await Promise.all(names.map(async (name) => [name, await hash(name)] as const)),
	);
}
