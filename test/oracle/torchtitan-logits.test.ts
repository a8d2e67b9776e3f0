import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import { findTorchtitan, type TitanRelease } from "../support/torchtitan.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const titan = findTorchtitan();
const skip = "skip" in search ? search.skip : "skip" in titan ? titan.skip : undefined;
const why = skip === undefined ? "" : `: ${skip}`;

/**
 * Both sides compute in float32, in another order: sums of a few hundred products differ by some 1e-6 of them. Logits of the
 * models here differ by at most 1.5e-4 of their spread where the map is right, and by a tenth or more where it is not.
 */
const NOISE = 5e-4;

/** A model of `tiny_models.py`, and the release of torchtitan that has it. */
interface Case {
	readonly model: string;
	/** Keys of torchtitan's state dict. */
	readonly keys: number;
	readonly release?: TitanRelease;
	readonly flags?: readonly string[];
}

const CASES: readonly Case[] = [
	{ model: "llama3", keys: 21 },
	{ model: "llama3-tied", keys: 21 },
	{ model: "llama4", keys: 49, release: "0.2", flags: ["--target", "torchtitan@2026-02-01"] },
	{ model: "qwen3", keys: 25 },
	{ model: "qwen3-tied", keys: 25 },
	{ model: "qwen3_moe", keys: 29 },
];

describe.skipIf(skip !== undefined)(
	`torchtitan's models say of our checkpoints what transformers says of the source${why}`,
	() => {
		const resources = new Resources();
		const oracles = new Map<TitanRelease, Oracle>();
		let folder: string;

		beforeAll(async () => {
			folder = resources.use(await temporaryDirectory()).path;
			const names = CASES.map(({ model }) => model);
			await oracleOf("0.3").ask({ kind: "tiny", names, directory: join(folder, "models") });
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

		async function convert(model: string, ...flags: readonly string[]): Promise<string> {
			const checkpoint = join(folder, `${model}.${flags.length}`);
			const { code, stderr } = await runCli(
				[join(folder, "models", model), "--out", checkpoint, "--dp-shard", "2", ...flags],
				{ HF_HOME: join(folder, "home") },
			);
			expect(stderr, "the command line fails").toSatisfy(() => code === 0);
			return checkpoint;
		}

		it.each(CASES)("$model", async ({ model, keys, release = "0.3", flags = [] }) => {
			const checkpoint = await convert(model, ...flags);
			const path = join(folder, "models", model);
			const report = await oracleOf(release).ask({ kind: "logits", model: path, checkpoint });
			expect(report).toMatchObject({ finite: true, keys });
			expect(report.spread).toBeGreaterThan(0.5);
			expect(report.difference).toBeLessThan(NOISE * report.spread);
		});
	},
);
