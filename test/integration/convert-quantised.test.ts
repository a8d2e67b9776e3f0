import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cast } from "../../src/core/expr.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import {
	convert,
	isHfStreamDcpError,
	parseConvertOptions,
	type ProgressEvent,
} from "../../src/index.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { checkManifest } from "../support/check-manifest.ts";
import { evaluateExpr, takeBox } from "../support/naive-expr.ts";
import { writeFiles } from "../support/open-source-model.ts";
import {
	tinyDeepseek,
	tinyFiles,
	tinyGptOss,
	type TinyModel,
	tinySource,
} from "../support/quantised-models.ts";

let root = "";

beforeAll(() => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-quantised-"));
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

interface Case {
	readonly name: string;
	readonly model: TinyModel;
	readonly options: {
		readonly target?: string;
		readonly dtype?: "keep" | "bfloat16" | "float16" | "float32";
		readonly keepQuantized?: boolean;
		readonly parallelism?: object;
	};
}

// Rows of 25 and 9, so that the shards of ranks begin and end inside blocks.
const EP = { dpShard: 2, tp: 2, ep: 4 };
const TP = { dpShard: 2, tp: 2 };

const CASES: readonly Case[] = [
	{ name: "FP8", model: tinyDeepseek(), options: { parallelism: EP } },
	{ name: "FP8, cut inside blocks", model: tinyDeepseek(), options: { parallelism: TP } },
	{
		name: "FP8 in one tensor, float32, with +mtp",
		model: tinyDeepseek({ experts: "fused", scales: "bfloat16" }),
		options: { parallelism: TP, dtype: "float32", target: "torchtitan+mtp" },
	},
	{
		name: "FP8 under its names, float16",
		model: tinyDeepseek({ queries: "plain" }),
		options: { parallelism: { dpShard: 3 }, dtype: "float16", target: "hf" },
	},
	{
		name: "FP8 as it is",
		model: tinyDeepseek(),
		options: { parallelism: { dpShard: 3 }, keepQuantized: true, target: "hf" },
	},
	{ name: "MXFP4", model: tinyGptOss(), options: { parallelism: EP } },
	{
		name: "MXFP4, cut inside experts",
		model: tinyGptOss(),
		options: { parallelism: { dpShard: 8, tp: 2 }, dtype: "float32" },
	},
	{
		name: "MXFP4 under the names of a bf16 export",
		model: tinyGptOss(),
		options: { parallelism: { dpShard: 3 }, target: "hf" },
	},
	{
		name: "MXFP4 as it is",
		model: tinyGptOss(),
		options: { parallelism: { dpShard: 3 }, keepQuantized: true, target: "hf" },
	},
];

async function repositoryOf({ name, model }: Case): Promise<string> {
	const directory = join(root, name);
	await writeFiles(directory, tinyFiles(model));
	return directory;
}

describe.each(CASES)("$name", (one) => {
	test("every chunk has the values of the definition", async () => {
		const repo = await repositoryOf(one);
		const out = join(root, `${one.name}-checkpoint`);
		// Little memory, so that tensors are cut into tiles.
		const options = { repo, out, memoryBytes: "16MiB", threads: 1, ...one.options };
		await convert(parseConvertOptions(options));

		await checkManifest(out);

		const { dtype = "keep", target = "torchtitan", keepQuantized } = one.options;
		const source = tinySource(one.model);
		const map = mapModel({ source, target, dtype, keepQuantized });
		const bytesOf = new Map(one.model.tensors.map(({ name, bytes }) => [name, bytes]));
		const checkpoint = await readCheckpoint(out);
		expect(checkpoint.tensors.map(({ fqn }) => fqn).toSorted()).toEqual(
			map.recipes.map(({ fqn }) => fqn).toSorted(),
		);
		for (const { fqn, expr, keepDtype } of map.recipes) {
			const stored = checkpoint.tensors.find((tensor) => tensor.fqn === fqn)!;
			const wanted = dtype === "keep" || keepDtype ? expr : cast(expr, dtype);
			expect(stored.dtype, fqn).toBe(wanted.dtype);
			const whole = evaluateExpr(wanted, (name) => bytesOf.get(name)!);
			for (const { box, file, offset } of stored.entries) {
				const { prefixBytes, dataBytes } = torchSaveFormat.geometry(stored.dtype, box.size);
				const begin = offset + prefixBytes;
				const data = readFileSync(join(out, file)).subarray(begin, begin + dataBytes);
				const expected = takeBox(whole, stored.shape, stored.dtype, box);
				expect(Buffer.compare(data, expected), `${fqn} ${JSON.stringify(box)}`).toBe(0);
			}
		}
	});
});

test("values are those of the formats, computed by hand", async () => {
	const { tensors } = tinyDeepseek();
	const find = (name: string) => tensors.find((tensor) => tensor.name === name)!;
	const weight = find("model.layers.0.mlp.gate_proj.weight");
	const scales = new Float32Array(find(`${weight.name}_scale_inv`).bytes.slice().buffer);
	const out = join(root, "by-hand");
	const repo = await repositoryOf({ name: "by-hand-source", model: tinyDeepseek(), options: {} });
	await convert(parseConvertOptions({ repo, out, dtype: "float32" }));
	const checkpoint = await readCheckpoint(out);
	const stored = checkpoint.tensors.find(({ fqn }) => fqn === "layers.0.feed_forward.w1.weight")!;
	const [entry] = stored.entries;
	const { prefixBytes, dataBytes } = torchSaveFormat.geometry("float32", stored.shape);
	const begin = entry!.offset + prefixBytes;
	const bytes = readFileSync(join(out, entry!.file)).subarray(begin, begin + dataBytes);
	const values = new Float32Array(new Uint8Array(bytes).buffer);
	const [rows, columns] = weight.shape;
	for (let i = 0; i < rows!; i++) {
		for (let j = 0; j < columns!; j++) {
			const code = weight.bytes[i * columns! + j]!;
			const exponent = (code >> 3) & 15;
			const size = exponent === 0 ? (code & 7) * 2 ** -9 : (8 + (code & 7)) * 2 ** (exponent - 10);
			const scale = scales[Math.floor(i / 16) * Math.ceil(columns! / 8) + Math.floor(j / 8)]!;
			const wanted = Math.fround((code & 128 ? -size : size) * scale);
			expect(values[i * columns! + j]).toBe(wanted);
		}
	}
});

test("a job that was begun with other quantised weights is not continued", async () => {
	const repo = await repositoryOf({ name: "resumed", model: tinyDeepseek(), options: {} });
	const out = join(root, "resumed-checkpoint");
	const controller = new AbortController();
	const stop = new Error("stopped");
	const options = { repo, out, target: "hf" };
	const first = convert(
		parseConvertOptions({
			...options,
			signal: controller.signal,
			onEvent: (event: ProgressEvent) => {
				if (event.kind === "phase" && event.phase === "stream") controller.abort(stop);
			},
		}),
	);
	await expect(first).rejects.toBe(stop);
	const second = convert(parseConvertOptions({ ...options, keepQuantized: true }));
	const error: unknown = await second.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	expect(isHfStreamDcpError(error)).toBe(true);
	expect(String(error)).toContain("quantized: not given, now kept");
});
