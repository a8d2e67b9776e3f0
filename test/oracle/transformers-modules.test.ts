import { join } from "node:path";
import pLimit from "p-limit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import { type Fsdp2RankReport, type LoadReport, Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

/** Files that are called as the modules are: what `save_pretrained(save_original_format=False)` writes, and most of the Hub. */
const MODULE_FILES = [
	"llama3",
	"mistral",
	"mixtral",
	"gemma3",
	"phi",
	"phi3",
	"glm4_moe",
	"olmo2",
	"olmo3",
	"granite",
	"smollm3",
	"qwen2_5_vl",
	"qwen3-tied",
	"gpt_oss",
	"qwen3_5",
];

const QUANTISED_FILES = [
	{ model: "deepseek_v3", method: "fp8" },
	{ model: "gpt_oss", method: "mxfp4" },
] as const;

/** Files whose names the modules do not have: what `save_pretrained` writes and the Hub has. */
const HUB_FILES = [
	"mixtral",
	"gemma3",
	"glm4_moe",
	"qwen2_5_vl",
	"qwen3_moe",
	"deepseek_v3",
	"olmoe",
	"qwen2_moe",
	"qwen3_5_moe",
	"qwen3_vl_moe",
	"mistral",
];

describe.skipIf("skip" in search)(
	`modules of transformers under FSDP2 are filled bit for bit${why}`,
	() => {
		const resources = new Resources();
		let oracle: Oracle;

		beforeAll(() => {
			oracle = resources.use(new Oracle("python" in search ? search.python : ""));
		});
		afterAll(() => resources.dispose());

		interface Conversion {
			readonly source: string;
			/** Directory of the model that the checkpoint must fill. @default `source` */
			readonly model?: string;
			readonly flags: readonly string[];
		}

		/** Converts the models two at a time; loads all of them in the same two ranks. */
		async function load(
			conversions: readonly Conversion[],
		): Promise<readonly LoadReport<Fsdp2RankReport>[]> {
			const limit = pLimit(2);
			const loads = await limit.map(conversions, async ({ source, model = source, flags }) => {
				const checkpoint = `${source}.checkpoint`;
				const args = [source, "--out", checkpoint, "--dp-shard", "2", "--threads", "1", ...flags];
				const { code, stderr } = await runCli(args, {});
				expect(stderr, "the command line fails").toSatisfy(() => code === 0);
				return { model, checkpoint };
			});
			return oracle.ask({ kind: "fsdp2", loads, world_size: 2 });
		}

		async function saveModels(
			names: readonly string[],
			options: { readonly save_original_format: boolean },
		): Promise<string> {
			const folder = resources.use(await temporaryDirectory()).path;
			await oracle.ask({ kind: "tiny", names, directory: folder, options });
			return folder;
		}

		function expectWhole(report: LoadReport<Fsdp2RankReport> | undefined): void {
			expect(report?.stored).toEqual(report?.demanded);
			expect(report?.ranks).toHaveLength(2);
			for (const rank of report?.ranks ?? []) {
				expect(rank).toMatchObject({
					mismatched: [],
					partialReads: [],
					readBytes: rank.ownedBytes,
					logitsEqual: true,
					logitsFinite: true,
				});
				expect(rank.logitsSpread).toBeGreaterThan(0.5);
			}
		}

		describe("--target hf, of files with the modules' names", () => {
			let reports: readonly LoadReport<Fsdp2RankReport>[];
			beforeAll(async () => {
				const folder = await saveModels(MODULE_FILES, { save_original_format: false });
				const flags = ["--target", "hf"];
				reports = await load(MODULE_FILES.map((name) => ({ source: join(folder, name), flags })));
			});
			for (const [index, name] of MODULE_FILES.entries())
				it(name, () => expectWhole(reports[index]));
		});

		describe("--target hf@5, of files with the Hub's names", () => {
			let reports: readonly LoadReport<Fsdp2RankReport>[];
			beforeAll(async () => {
				const folder = await saveModels(HUB_FILES, { save_original_format: true });
				const flags = ["--target", "hf@5"];
				reports = await load(HUB_FILES.map((name) => ({ source: join(folder, name), flags })));
			});
			for (const [index, name] of HUB_FILES.entries()) it(name, () => expectWhole(reports[index]));
		});

		describe("--target hf@5, of quantised files, dequantised", () => {
			let reports: readonly LoadReport<Fsdp2RankReport>[];
			beforeAll(async () => {
				const names = QUANTISED_FILES.map(({ model }) => model);
				const folder = await saveModels(names, { save_original_format: true });
				const conversions: Conversion[] = [];
				for (const { model: name, method } of QUANTISED_FILES) {
					const model = join(folder, name);
					const [source, meant] = [`${model}.${method}`, `${model}.meant`];
					await oracle.ask({ kind: "quantise", method, model, quantised: source, meant });
					const flags = ["--target", "hf@5", "--dtype", "float32"];
					conversions.push({ source, model: meant, flags });
				}
				reports = await load(conversions);
			});
			for (const [index, { model, method }] of QUANTISED_FILES.entries())
				it(`${model}, ${method}`, () => expectWhole(reports[index]));
		});
	},
);
