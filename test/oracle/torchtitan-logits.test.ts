import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import { findTorchtitan, type TitanRelease } from "../support/torchtitan.ts";
import { BROKEN_FAMILIES, type FamilyJson, spoilFamily } from "./broken-families.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import { type LogitsReport, Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const titan = findTorchtitan();
const skip = "skip" in search ? search.skip : "skip" in titan ? titan.skip : undefined;
const why = skip === undefined ? "" : `: ${skip}`;

/**
 * Both sides compute in float32, in another order: sums of a few hundred products differ by some 1e-6 of them. Logits here differ by
 * at most 1e-5 of their spread where the map is right, and by a tenth and more where it is not.
 */
const NOISE = 5e-5;

/**
 * Linear attention is a recurrence, which transformers sums up by chunks; Muse Glimmer multiplies queries by 43.8, so that a
 * difference decides sharper. Over a dozen models each the noise was at most 2.5e-4.
 */
const MORE_NOISE = 1e-3;

/** A model of `tiny_models.py`. */
interface Case {
	readonly model: string;
	/** Keys of torchtitan's state dict. */
	readonly keys: number;
	/** The release of torchtitan that has it. @default "0.3" */
	readonly release?: TitanRelease;
	/** Files as transformers 5 holds the model: all experts of a layer in one tensor. @default as on the Hub */
	readonly fused?: boolean;
	/** @default {@link NOISE} */
	readonly noise?: number;
}

const CASES: readonly Case[] = [
	{ model: "llama3", keys: 21 },
	{ model: "llama3-tied", keys: 21 },
	{ model: "llama4", keys: 49, release: "0.2" },
	{ model: "qwen3", keys: 25 },
	{ model: "qwen3-tied", keys: 25 },
	{ model: "qwen3_moe", keys: 29 },
	{ model: "qwen3_moe", keys: 29, fused: true },
	{ model: "deepseek_v3", keys: 49 },
	{ model: "deepseek_v3", keys: 49, fused: true },
	{ model: "deepseek_v3-q", keys: 43 },
	{ model: "kimi_k2", keys: 92 },
	{ model: "kimi_k2", keys: 92, fused: true },
	{ model: "gpt_oss", keys: 39 },
	{ model: "qwen3_5", keys: 109, noise: MORE_NOISE },
	{ model: "qwen3_5_moe", keys: 133, noise: MORE_NOISE },
	{ model: "qwen3_5_moe", keys: 133, noise: MORE_NOISE, fused: true },
	{ model: "muse_glimmer", keys: 120, noise: MORE_NOISE },
	{ model: "llama3", keys: 21, release: "0.2" },
	{ model: "qwen3", keys: 25, release: "0.2" },
	{ model: "qwen3_moe", keys: 29, release: "0.2" },
	{ model: "deepseek_v3", keys: 49, release: "0.2" },
];

/** What these releases call their parameters. */
const TARGETS: { readonly [release in TitanRelease]: string } = {
	"0.3": "torchtitan",
	"0.2": "torchtitan@2026-02-01",
};

const QUANTISED = [
	{ model: "deepseek_v3", method: "fp8", keys: 49 },
	{ model: "qwen3", method: "fp8", keys: 25 },
	{ model: "gpt_oss", method: "mxfp4", keys: 39 },
] as const;

describe.skipIf(skip !== undefined)(
	`torchtitan's models say of our checkpoints what transformers says of the source${why}`,
	() => {
		const resources = new Resources();
		const oracles = new Map<TitanRelease, Oracle>();
		let folder: string;

		beforeAll(async () => {
			folder = resources.use(await temporaryDirectory()).path;
			for (const fused of [false, true]) {
				const names = new Set(
					CASES.filter((one) => fused === (one.fused ?? false)).map(({ model }) => model),
				);
				const options = { save_original_format: !fused };
				const directory = join(folder, fused ? "fused" : "models");
				await oracleOf("0.3").ask({ kind: "tiny", names: [...names], directory, options });
			}
		});
		afterAll(() => resources.dispose());

		function oracleOf(release: TitanRelease): Oracle {
			const known = oracles.get(release);
			if (known !== undefined) return known;
			if (!("python" in search && "path" in titan)) throw new Error("internal error: skipped");
			const oracle = resources.use(new Oracle(search.python, { path: titan.path(release) }));
			oracles.set(release, oracle);
			return oracle;
		}

		const modelPath = (model: string) => join(folder, "models", model);

		async function convert(
			source: string,
			target: string,
			...flags: readonly string[]
		): Promise<string> {
			const checkpoint = `${source}.${target}`;
			const args = [source, "--out", checkpoint, "--target", target, ...flags];
			const { code, stderr } = await runCli([...args, "--dp-shard", "2", "--threads", "1"], {});
			expect(stderr, "the command line fails").toSatisfy(() => code === 0);
			return checkpoint;
		}

		function expectEqual(report: LogitsReport, keys: number, noise = NOISE): void {
			expect(report).toMatchObject({ finite: true, keys });
			expect(report.spread).toBeGreaterThan(0.5);
			expect(report.difference).toBeLessThan(noise * report.spread);
		}

		for (const { model, keys, release = "0.3", fused = false, noise } of CASES) {
			it(`${model}${fused ? ", experts in one tensor" : ""}, torchtitan ${release}`, async () => {
				const path = join(folder, fused ? "fused" : "models", model);
				const checkpoint = await convert(path, TARGETS[release]);
				const job = { kind: "logits", model: path, checkpoint } as const;
				expectEqual(await oracleOf(release).ask(job), keys, noise);
			});
		}

		it.each([
			{ name: "flux", target: "torchtitan", keys: 80 },
			{ name: "mtp", target: "torchtitan+mtp", keys: 70 },
		] as const)("$name", async ({ name, target, keys }) => {
			const oracle = oracleOf("0.3");
			const model = modelPath(name);
			await oracle.ask({ kind: `tiny-${name}`, directory: model });
			const checkpoint = await convert(model, target);
			expectEqual(await oracle.ask({ kind: `${name}-logits`, model, checkpoint }), keys);
		});

		describe("a wrong map is heard of", () => {
			async function convertBy(family: FamilyJson, model: string, name: string): Promise<string> {
				const file = join(folder, `${name}.json`);
				await writeFile(file, JSON.stringify(family));
				const flags = ["--out", join(folder, name), "--family", file, "--threads", "1"];
				const { code, stderr } = await runCli([modelPath(model), "--dp-shard", "2", ...flags], {});
				expect(stderr, "the command line fails").toSatisfy(() => code === 0);
				return join(folder, name);
			}

			async function show(family: string): Promise<FamilyJson> {
				return JSON.parse((await runCli(["family", "show", family], {})).stdout);
			}

			it("a family that is shown and given back is the family", async () => {
				const checkpoint = await convertBy(await show("llama3"), "llama3", "shown");
				const job = { kind: "logits", model: modelPath("llama3"), checkpoint } as const;
				expectEqual(await oracleOf("0.3").ask(job), 21);
			});

			for (const [index, { what, family, model, spoil }] of BROKEN_FAMILIES.entries()) {
				it(`${family}: ${what}`, async () => {
					const shown = await show(family);
					const spoiled = spoilFamily(shown, { spoil });
					expect(spoiled).not.toEqual(shown);
					const checkpoint = await convertBy(spoiled, model, `broken-${index}`);
					const job = { kind: "logits", model: modelPath(model), checkpoint } as const;
					const report = await oracleOf("0.3").ask(job);
					expect(report.finite).toBe(true);
					expect(report.difference).toBeGreaterThan(report.spread);
				});
			}
		});

		it.each(QUANTISED)("$model, quantised: $method", async ({ model, method, keys }) => {
			const oracle = oracleOf("0.3");
			const path = modelPath(model);
			const quantised = `${path}.${method}`;
			const meant = `${path}.meant`;
			await oracle.ask({ kind: "quantise", method, model: path, quantised, meant });
			const checkpoint = await convert(quantised, "torchtitan", "--dtype", "float32");
			expectEqual(await oracle.ask({ kind: "logits", model: meant, checkpoint }), keys);
			// What was lost when it was quantised is seen: so are smaller mistakes than a wrong map.
			const before = await oracle.ask({ kind: "logits", model: path, checkpoint });
			expect(before.difference).toBeGreaterThan(0.1 * before.spread);
		});
	},
);
