// Stage: whole conversions of local models with `--device webgpu` and `--device cpu`, in turns: the same checkpoint, byte for byte.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { interleave } from "../lib/pairs.mjs";
import { runMeasured } from "../lib/run.mjs";
import { CLI } from "../lib/settings.mjs";
import { deepseek, gptOss, smallDeepseek, smallGptOss } from "../quantised-model.mjs";
import { llama3, llama4, smallLlama3, smallLlama4, writeModel } from "../synthetic-model.mjs";
import { driverEnvironment } from "./gpu.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

/** What most of each model's bytes need. @param {boolean} isQuick */
function models(isQuick) {
	const mesh = ["--dp-shard", "2", "--tp", "4"];
	const [dense, fused] = isQuick
		? [smallLlama3({ layers: 1 }), smallLlama4()]
		: [llama3(), llama4()];
	return [
		{ name: "slice", model: dense, flags: ["--tp", "8"] },
		{ name: "transpose", model: fused, flags: mesh },
		{ name: "FP8", model: isQuick ? smallDeepseek() : deepseek(), flags: mesh },
		{ name: "MXFP4", model: isQuick ? smallGptOss() : gptOss(), flags: ["--dp-shard", "4"] },
	];
}

/**
 * @param {{ pairs: number, folder: string, isQuick: boolean, threads: readonly number[] }} options `folder` in memory, with room for a model
 * and two checkpoints
 */
export async function measureConversions({ pairs, folder, isQuick, threads }) {
	const rows = [];
	for (const { name, model, flags } of models(isQuick)) {
		const repo = join(folder, name);
		const bytes = await writeModel(repo, model);
		for (const count of threads) {
			const run = (device) =>
				convert(repo, join(folder, device), device, [...flags, `--threads=${count}`]);
			const variants = { webgpu: () => run("webgpu"), cpu: () => run("cpu") };
			await variants.webgpu();
			await variants.cpu();
			const hashes = await Promise.all(
				["webgpu", "cpu"].map((device) => hashOf(join(folder, device))),
			);
			assertEqual(`checkpoints of ${name}`, hashes[0], hashes[1]);
			const runs = await interleave({ variants, pairs, warmup: 0 });
			const what = `gpu conversion, ${name}, ${count === 1 ? "1 thread" : `${count} threads`}`;
			rows.push(...compare({ what, runs, bytes, ours: "webgpu", reference: "cpu" }));
		}
		for (const path of [repo, join(folder, "webgpu"), join(folder, "cpu")]) {
			await rm(path, { recursive: true, force: true });
		}
	}
	return rows;
}

async function convert(repo, out, device, flags) {
	await rm(out, { recursive: true, force: true });
	await mkdir(out, { recursive: true });
	const args = [CLI, repo, "--out", out, "--device", device, "--log-format=json", ...flags];
	const usage = await runMeasured(process.execPath, args, { env: driverEnvironment() });
	if (device === "webgpu") assertOnGpu(JSON.parse(usage.stdout));
	return costOf(usage);
}

/** A figure must be the GPU's. */
function assertOnGpu({ threads }) {
	for (const { gpu } of threads) {
		if (gpu === undefined || gpu.batches === 0 || gpu.redone > 0)
			throw new Error(`the GPU did not do its work: ${JSON.stringify(gpu)}`);
	}
}

async function hashOf(folder) {
	const names = (await readdir(folder)).filter((name) => /^\.metadata$|\.distcp$/.test(name));
	const hash = createHash("sha256");
	for (const name of names.toSorted()) {
		hash.update(name);
		await pipeline(createReadStream(join(folder, name)), async (chunks) => {
			for await (const chunk of chunks) hash.update(chunk);
		});
	}
	return hash.digest("hex");
}
