import {
	closeSync,
	cpSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readFileSync,
	rmSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { valuesJson } from "../../src/cli/inspect/tensor-json.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type LocalHub } from "../../src/demo/local-hub.ts";
import {
	convert,
	inspectCheckpoint,
	type InspectedTensor,
	inspectTensor,
	type InspectTensorOptions,
	MANIFEST_NAME,
	parseConvertOptions,
} from "../../src/index.ts";
import { failure } from "../support/failure.ts";
import { writeFiles } from "../support/open-source-model.ts";
import {
	tinyDeepseek,
	tinyFiles,
	tinyGptOss,
	type TinyModel,
} from "../support/quantised-models.ts";

const MODEL = createDemoModel();
const QUERY = "language_model.model.layers.0.self_attn.q_proj.weight";
const TARGET = "layers.0.attention.qkv_linear.wq.weight";
/** Stored transposed, one expert in each chunk. */
const EXPERTS = "layers.1.moe.experts.w2_EDF";

let root: string;
let hub: LocalHub;
let checkpoint: string;
let environment: { readonly [name: string]: string };

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-inspect-"));
	hub = await createLocalHub({ repos: [MODEL] });
	environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	checkpoint = join(root, "checkpoint");
	const parallelism = { dpShard: 4, tp: 2, ep: 4 };
	await convert(parseConvertOptions({ repo: MODEL.id, out: checkpoint, parallelism, environment }));
});

afterAll(async () => {
	await hub.close();
	rmSync(root, { recursive: true });
});

function inspect(
	tensor: string,
	more: Partial<InspectTensorOptions> = {},
): Promise<InspectedTensor> {
	return inspectTensor({ target: checkpoint, tensor, environment, ...more });
}

/** The model as a directory. */
function writeLocal(directory: string): void {
	mkdirSync(directory);
	for (const [path, bytes] of MODEL.files) writeFileSync(join(directory, path), bytes);
}

/** What the CDN was asked meanwhile, headers included. */
async function asked<T>(
	action: () => Promise<T>,
): Promise<{ readonly result: T; readonly ranges: readonly { range: string; bytes: number }[] }> {
	const before = hub.requests.length;
	const result = await action();
	const ranges = hub.requests
		.slice(before)
		.filter(({ origin, method }) => origin === "cdn" && method === "GET")
		.map(({ range, bytes }) => ({ range: range ?? "", bytes }));
	return { result, ranges };
}

describe("from the Hub", () => {
	test("a block of rows is one request of exactly its bytes", async () => {
		const [whole] = (await inspect(QUERY, { target: MODEL.id })).stored;
		const { result, ranges } = await asked(() => inspect(`${QUERY}[4:8]`, { target: MODEL.id }));
		const [place] = result.stored;
		expect(place).toMatchObject({ dataBegin: whole!.dataBegin + 4 * 512, length: 4 * 512 });
		expect(result.values.read).toEqual({ neededBytes: 2048, readBytes: 2048, requests: 1 });
		// What is not of the tensor is of a header, at the beginning of a file.
		const weights = ranges.filter(({ range }) => !/^bytes=[0-8]-/.test(range));
		const range = `bytes=${place!.dataBegin}-${place!.dataEnd - 1}`;
		expect(weights).toEqual([{ range, bytes: 2048 }]);
	});

	test("without statistics, the values that are shown alone are read", async () => {
		const all = await inspect(QUERY, { target: MODEL.id });
		const result = await inspect(QUERY, { target: MODEL.id, statistics: false });
		expect(result.values.shown).toEqual(all.values.shown);
		expect(result.values.statistics).toBeUndefined();
		expect(result.values.read.neededBytes).toBe(36 * 2);
		expect(all.values.read.readBytes).toBe(256 * 256 * 2);
	});

	test("a local directory with the same files gives the same", async () => {
		const fromHub = await inspect(`${QUERY}[:, 3]`, { target: MODEL.id });
		const local = join(root, "local");
		writeLocal(local);
		const { values, kind } = await inspect(`${QUERY}[:, 3]`, { target: local });
		expect(kind).toBe("directory");
		expect(values).toEqual(fromHub.values);
	});

	test("a tensor that there is not is told with the nearest name", async () => {
		const error = await failure(inspect(QUERY.replace("q_proj", "q_prj"), { target: MODEL.id }));
		expect(error).toMatchObject({ code: "OPTIONS_INVALID", hint: `Did you mean ${QUERY}?` });
	});

	test("has no chunks", async () => {
		const error = await failure(inspect(QUERY, { target: MODEL.id, chunk: 0 }));
		expect(error.message).toContain("is no checkpoint");
	});
});

describe("from a checkpoint", () => {
	test("chunks are the rows of the whole", async () => {
		const whole = await inspect(TARGET);
		expect(whole.stored).toHaveLength(8);
		for (const { chunk, box, file, offset, dataBegin, dataEnd } of whole.stored.slice(2, 5)) {
			const rows = `${box.offset[0]}:${box.offset[0]! + box.size[0]!}`;
			const sliced = await inspect(`${TARGET}[${rows}]`);
			const alone = await inspect(TARGET, { chunk });
			const entry = await inspectTensor({ target: checkpoint, entry: { file, offset } });
			expect(alone.values).toEqual(sliced.values);
			expect(alone.stored).toEqual([whole.stored[chunk!]]);
			expect({ ...entry, values: undefined }).toEqual({ ...alone, values: undefined });
			expect(entry.values).toEqual(alone.values);
			expect(alone.values.read.readBytes).toBe(dataEnd - dataBegin);
		}
	});

	test("an index counts in a chunk where one is asked for", async () => {
		const { block, stored } = await inspect(`${TARGET}[-1, 4:6]`, { chunk: 2 });
		expect(block).toEqual({ box: { offset: [63, 4], size: [1, 2] }, shape: [2] });
		expect(stored.map(({ chunk }) => chunk)).toEqual([2]);
	});

	test("the source's name of a tensor leads to it", async () => {
		const { name, askedFor, values } = await inspect(QUERY);
		expect([name, askedFor]).toEqual([TARGET, QUERY]);
		expect(values).toEqual((await inspect(TARGET)).values);
	});

	test.each([
		[`${QUERY}[0]`, `It went into ${TARGET}.`],
		[
			"language_model.model.layers.1.feed_forward.experts.gate_up_proj",
			"It went into layers.1.moe.experts.w1_EFD, layers.1.moe.experts.w3_EFD.",
		],
		["vision_model.patch_embedding.linear.weight", "It was left out: "],
		["layers.0.attention.qkv_linear.wq.weigth", `Did you mean ${TARGET}?`],
		["x", "It has tok_embeddings.weight, "],
	])("%s: %s", async (tensor, hint) => {
		const error = await failure(inspect(tensor));
		expect(error.code).toBe("OPTIONS_INVALID");
		expect(error.hint).toContain(hint);
	});

	test.each([
		[{ chunk: 8 }, "has no chunk 8"],
		[{ entry: { file: "__0_0.distcp", offset: 1 } }, "no tensor of"],
		[{ entry: { file: "nowhere", offset: 0 } }, "no tensor of"],
		[{ chunk: 0, entry: { file: "__0_0.distcp", offset: 0 } }, "twice"],
		[{ entry: { file: "__0_0.distcp", offset: 0 } }, "is of tok_embeddings.weight, not of"],
	])("%j is refused", async (more, message) => {
		const error = await failure(inspect(TARGET, more));
		expect(error.code).toBe("OPTIONS_INVALID");
		expect(error.message).toContain(message);
	});
});

describe("side by side with the source", () => {
	test.each([
		TARGET,
		EXPERTS,
		`${EXPERTS}[3:, 5, -9:]`,
		"norm.weight",
		"layers.1.moe.expert_bias_E",
	])("%s is bit for bit what the source makes of it", async (tensor) => {
		const { values, source, commit } = await inspect(tensor, { source: true });
		expect(commit).toBeUndefined();
		expect(source).toMatchObject({ repo: MODEL.id, kind: "hub" });
		expect(source?.comparison).toEqual({ different: 0, first: undefined, largest: undefined });
		expect(source?.values.statistics).toEqual(values.statistics);
		expect(source?.values.shown).toEqual(values.shown);
		expect((await inspect(tensor)).values.shown).toEqual(values.shown);
	});

	test("what differs is counted, and the first and the largest are told", async () => {
		const damaged = join(root, "damaged");
		cpSync(checkpoint, damaged, { recursive: true });
		const { stored } = await inspect(EXPERTS);
		const { box, file, dataBegin } = stored.find((piece) => piece.box.offset[0] === 3)!;
		expect(box.size).toEqual([1, 256, 512]);
		const path = openSync(join(damaged, file), "r+");
		for (const [row, column, bits] of [
			[200, 7, 0x4000],
			[10, 500, 0xc080],
			[10, 511, 0x7fc0],
		] as const) {
			const bytes = Uint8Array.of(bits % 256, bits >> 8);
			writeSync(path, bytes, 0, 2, dataBegin + (row * 512 + column) * 2);
		}
		closeSync(path);
		const { values, source } = await inspect(EXPERTS, { target: damaged, source: true });
		expect(source?.comparison).toMatchObject({ different: 3, first: [3, 10, 500] });
		expect(source?.comparison.largest).toBeGreaterThan(3.9);
		expect(source?.comparison.largest).toBeLessThan(4.1);
		expect(values.statistics).toMatchObject({ nan: 1, min: -4, max: 2 });
		expect(source?.values.statistics?.nan).toBe(0);
		const outside = await inspect(`${EXPERTS}[:3]`, { target: damaged, source: true });
		expect(outside.source?.comparison.different).toBe(0);
	});

	test("another model with the same tensors can be given", async () => {
		const local = join(root, "other");
		writeLocal(local);
		const { source } = await inspect(TARGET, { source: local });
		expect(source).toMatchObject({ repo: local, kind: "directory", comparison: { different: 0 } });
	});

	test("a checkpoint without a manifest has no source", async () => {
		const bare = join(root, "bare");
		cpSync(checkpoint, bare, { recursive: true });
		rmSync(join(bare, MANIFEST_NAME));
		const error = await failure(inspect(TARGET, { target: bare, source: true }));
		expect(error.message).toContain("no manifest");
		expect((await inspect(TARGET, { target: bare })).name).toBe(TARGET);
	});

	test("a damaged manifest is warned of, and no reason not to look", async () => {
		const damaged = join(root, "damaged-manifest");
		cpSync(checkpoint, damaged, { recursive: true });
		const path = join(damaged, MANIFEST_NAME);
		writeFileSync(path, readFileSync(path, "utf8").replace("demo/", "demo:"));
		const warnings: string[] = [];
		const seen = await inspect(TARGET, {
			target: damaged,
			onEvent: (event) => event.kind === "warning" && warnings.push(event.message),
		});
		expect(seen.name).toBe(TARGET);
		expect(warnings).toHaveLength(1);
		const error = await failure(inspect(TARGET, { target: damaged, source: true }));
		expect(error.code).toBe("CHECKPOINT_CORRUPT");
	});
});

test("JSON has no number for some values", () => {
	const values = [NaN, Infinity, -Infinity, 9_007_199_254_740_993n, 1.5, true, { re: 1, im: NaN }];
	expect(JSON.parse(valuesJson({ values, missing: undefined }))).toEqual({
		values: ["NaN", "Infinity", "-Infinity", "9007199254740993", 1.5, true, { re: 1, im: "NaN" }],
		missing: null,
	});
});

test("an abort stops it", async () => {
	const signal = AbortSignal.abort(new Error("stopped"));
	await expect(inspect(TARGET, { signal })).rejects.toThrow("stopped");
	await expect(inspect(QUERY, { target: MODEL.id, signal })).rejects.toThrow("stopped");
});

describe("quantised sources, side by side", () => {
	const cases: readonly [string, TinyModel, object][] = [
		["FP8", tinyDeepseek(), { dpShard: 2, tp: 2, ep: 4 }],
		["MXFP4", tinyGptOss(), { dpShard: 3 }],
	];

	test.each(cases)("%s: every tensor, and a block of each, is equal", async (name, model, mesh) => {
		const repo = join(root, `${name}-model`);
		await writeFiles(repo, tinyFiles(model));
		const target = join(root, `${name}-checkpoint`);
		const options = { repo, out: target, parallelism: mesh, environment };
		await convert(parseConvertOptions(options));
		const { tensors } = await inspectCheckpoint(target);
		// One of each number of dimensions and chunks.
		const distinct = new Map(
			tensors.map((one) => [`${one.dtype} ${one.shape.length} ${one.entries.length}`, one]),
		);
		const compared: string[] = [];
		for (const { fqn, shape } of distinct.values()) {
			const block = shape.map((_, axis) => (axis === 0 ? "-3:" : "1:"));
			for (const tensor of [fqn, ...(shape.length > 1 ? [`${fqn}[${block.join(", ")}]`] : [])]) {
				const { source, values } = await inspect(tensor, { target, source: true });
				expect(source?.comparison, tensor).toMatchObject({ different: 0 });
				expect(source?.values.statistics, tensor).toEqual(values.statistics);
				compared.push(tensor);
			}
		}
		expect(compared.length).toBeGreaterThan(5);
	});
});
