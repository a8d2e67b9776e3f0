import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { findPython } from "../support/python.ts";
import {
	countRanges,
	type ModelHub,
	openModelHub,
	readSavedFiles,
	Resources,
	runCli,
	type SavedFile,
	temporaryDirectory,
} from "./conversion.ts";
import { LAYOUT_CASES, type LayoutCase, layoutFlags, layoutPath } from "./layouts.ts";
import { Oracle, type RankReport } from "./oracle.ts";

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

		it.each(LAYOUT_CASES)("$model, $setting: $layout", async (layoutCase) => {
			const { model, layout, target, layers } = layoutCase;
			const checkpoint = join(folder, "checkpoint");
			onTestFinished(() => rm(checkpoint, { recursive: true, force: true }));
			const files = await readSavedFiles(join(folder, "models", model));

			const before = hub.ranges().length;
			const result = await runCli(
				[`tests/${model}`, "--out", checkpoint, "--target", target, ...layoutFlags(layout)],
				{ HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, "home") },
			);
			expect(result.stderr + result.stdout, "the command line fails").toSatisfy(
				() => result.code === 0,
			);

			const headerBytes = files.reduce((sum, file) => sum + file.headerBytes, 0);
			const requested = countRanges(hub.ranges().slice(before));
			expect(requested).toEqual({ bytes: headerBytes + usedBytes(files), repeated: 0 });

			const report = await oracle.ask({
				kind: "load",
				layout: layoutPath(layout),
				checkpoint,
				expected: await expectedFile(layoutCase),
				...(layers === undefined ? {} : { layers }),
			});
			expect(report.stored).toEqual(report.demanded);
			expect(report.ranks.map(verdict)).toEqual(
				report.ranks.map(({ items }) => ({
					mismatched: [],
					partialReads: [],
					bulkReads: items,
					amplification: 1,
				})),
			);
		});
	},
);
