import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPython } from "../support/python.ts";
import { runCli } from "../support/run-cli.ts";
import { type ModelHub, openModelHub, Resources, temporaryDirectory } from "./conversion.ts";
import { layoutFlags, layoutPath } from "./layouts.ts";
import { Oracle, type WholeReport } from "./oracle.ts";

const search = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in search ? `: ${search.skip}` : "";

const MODELS = ["llama", "llama-gqa", "llama4-text", "bits-f32", "bits-bf16", "bits-f16"];
const JUNE = "torchtitan@2026-06";

describe.skipIf("skip" in search)(`what torch makes of our checkpoints${why}`, () => {
	const resources = new Resources();
	let folder: string;
	let oracle: Oracle;
	let hub: ModelHub;

	beforeAll(async () => {
		folder = resources.use(await temporaryDirectory()).path;
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));
		await oracle.ask({ kind: "models", names: MODELS, directory: join(folder, "models") });
		hub = resources.use(await openModelHub(join(folder, "models")));
	});
	afterAll(() => resources.dispose());

	const modelPath = (model: string) => join(folder, "models", model);

	async function convert(
		name: string,
		model: string,
		...flags: readonly string[]
	): Promise<string> {
		const checkpoint = join(folder, name);
		const { code, stdout, stderr } = await runCli(
			[`tests/${model}`, "--out", checkpoint, ...flags],
			{ HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, "home") },
		);
		expect(stderr + stdout, "the command line fails").toSatisfy(() => code === 0);
		return checkpoint;
	}

	async function expectedState(
		model: string,
		names: "june" | null,
		dtype?: string,
	): Promise<string> {
		const file = join(folder, `${model}.${names}.${dtype}.safetensors`);
		const cast = dtype === undefined ? {} : { dtype };
		await oracle.ask({ kind: "expected", model: modelPath(model), names, file, ...cast });
		return file;
	}

	describe("loaded by another job than it was cut for", () => {
		let checkpoint: string;
		let expected: string;

		beforeAll(async () => {
			const flags = layoutFlags("june__llama3__debugmodel__fsdp3_tp2_uneven");
			checkpoint = await convert("reshard", "llama", "--target", JUNE, ...flags);
			expected = await expectedState("llama", "june");
		});

		it.each(["main__llama3__debugmodel__hsdp2x2_tp2", "main__llama3__debugmodel__pp2_zbv_fsdp2"])(
			"every tensor is right, though reads are no longer whole: %s",
			async (layout) => {
				const job = { kind: "load", layout: layoutPath(layout), checkpoint, expected } as const;
				const { ranks } = await oracle.ask(job);
				expect(ranks.map(({ mismatched }) => mismatched)).toEqual(ranks.map(() => []));
				// Shows that the exact-layout tests can fail: the wrong layout costs extra bytes.
				for (const rank of ranks) {
					expect(rank.partialReads).not.toEqual([]);
					expect(rank.readBytes).toBeGreaterThan(rank.ownedBytes);
				}
			},
		);

		it("dcp_to_torch_save gives back every tensor whole", async () => {
			expect(await oracle.ask({ kind: "whole", checkpoint, expected })).toMatchObject(
				everyTensorEqual(57, "bfloat16"),
			);
		});

		it("one flipped bit is noticed by the oracle", async () => {
			const [name = ""] = (await readdir(checkpoint)).filter((file) => file.endsWith(".distcp"));
			await using file = await open(join(checkpoint, name), "r+");
			// Entries begin with 704 bytes of zip headers (dcp-format: torch.save's prefix); this is data.
			const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 1024);
			await file.write(Buffer.from([buffer.readUInt8() ^ 1]), 0, 1, 1024);
			const report = await oracle.ask({ kind: "whole", checkpoint, expected });
			expect(report.mismatched).toHaveLength(1);
		});
	});

	it("heads are counted right where keys and values have fewer", async () => {
		const flags = ["--target", JUNE, "--dp-shard", "2", "--tp", "4"];
		const checkpoint = await convert("gqa", "llama-gqa", ...flags);
		const expected = await expectedState("llama-gqa", "june");
		expect(await oracle.ask({ kind: "whole", checkpoint, expected })).toMatchObject(
			everyTensorEqual(21, "bfloat16"),
		);
	});

	it("bfloat16 on disk fills float32 parameters", async () => {
		const layout = "june__llama4__debugmodel__fsdp4_ep2";
		const flags = ["--target", JUNE, "--dtype", "bfloat16", ...layoutFlags(layout)];
		const checkpoint = await convert("upcast", "llama4-text", ...flags);
		const expected = await expectedState("llama4-text", "june", "bfloat16");
		const report = await oracle.ask({
			kind: "load",
			layout: layoutPath(layout),
			checkpoint,
			expected,
			dtype: "float32",
		});
		expect(report.ranks.map(({ mismatched, dtypes }) => ({ mismatched, dtypes }))).toEqual(
			report.ranks.map(() => ({ mismatched: [], dtypes: ["torch.float32"] })),
		);
	});

	describe("--dtype rounds as Tensor.to does, over random bit patterns", () => {
		const QUIET_NAN = { float32: "7fc00000", bfloat16: "7fc0", float16: "7e00" } as const;

		for (const [source, model] of [
			["float32", "bits-f32"],
			["bfloat16", "bits-bf16"],
			["float16", "bits-f16"],
		] as const) {
			for (const dtype of ["float32", "bfloat16", "float16"] as const) {
				it(`${source} to ${dtype}`, async () => {
					const flags = ["--target", JUNE, "--dp-shard", "2", "--tp", "2", "--dtype", dtype];
					const checkpoint = await convert(`${model}-${dtype}`, model, ...flags);
					const expected = await expectedState(model, "june", dtype);
					// In its casts torch keeps some of a NaN's payload or not, as the processor has it. Ours is always the same.
					const nan = source === dtype ? {} : ({ nan: "any" } as const);
					const report = await oracle.ask({ kind: "whole", checkpoint, expected, ...nan });
					expect(report).toMatchObject(everyTensorEqual(21, dtype));
					if (source === dtype) expect(report.nanPatterns.length).toBeGreaterThan(1);
					else expect(report.nanPatterns).toEqual([QUIET_NAN[dtype]]);
				});
			}
		}

		it("keep moves every bit, NaN payloads too", async () => {
			const checkpoint = await convert(
				"bits-keep",
				"bits-f32",
				"--target",
				JUNE,
				"--dp-shard",
				"4",
			);
			const expected = await expectedState("bits-f32", "june");
			expect(await oracle.ask({ kind: "whole", checkpoint, expected })).toMatchObject(
				everyTensorEqual(21, "float32"),
			);
		});
	});

	// The second is tied: `state_dict()` asks for the head that the files leave out.
	it.each(["llama", "llama-gqa", "llama4-text"])(
		"%s with Hugging Face's own names fills a transformers model under FSDP2",
		async (model) => {
			const checkpoint = await convert(`hf-${model}`, model, "--target", "hf", "--dp-shard", "4");
			const loads = [{ model: modelPath(model), checkpoint }];
			const [report] = await oracle.ask({ kind: "fsdp2", loads, world_size: 4 });
			if (report === undefined) throw new Error("no report");
			expect(report.stored).toEqual(report.demanded);
			for (const rank of report.ranks) {
				expect(rank).toMatchObject({
					mismatched: [],
					partialReads: [],
					readBytes: rank.ownedBytes,
					bulkReads: rank.items,
					logitsEqual: true,
					logitsFinite: true,
				});
				expect(rank.logitsSpread).toBeGreaterThan(1);
			}
		},
	);
});

function everyTensorEqual(keys: number, dtype: string): Partial<WholeReport> {
	return { keys, missing: [], extra: [], mismatched: [], dtypes: [`torch.${dtype}`] };
}
