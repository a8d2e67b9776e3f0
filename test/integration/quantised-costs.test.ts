import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { convert, parseConvertOptions } from "../../src/index.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { countsOf, type FileSpan, sumOf, weightSpans } from "../support/byte-set.ts";
import { done } from "../support/job-state.ts";
import {
	tinyDeepseek,
	tinyFiles,
	tinyGptOss,
	type TinyModel,
	tinySource,
} from "../support/quantised-models.ts";

const FILE = "model.safetensors";

let root = "";

beforeAll(() => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-quantised-costs-"));
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

/** The bytes of the tensors that no rule drops, neighbours in one span. */
function usedSpans(model: TinyModel, headerBytes: number): FileSpan[] {
	const source = tinySource(model);
	const { dropped } = mapModel({ source, target: "torchtitan" });
	const isDropped = new Set(dropped.map(({ name }) => name));
	const spans: FileSpan[] = [];
	for (const { name, begin, end } of source.tensors) {
		if (isDropped.has(name)) continue;
		// `tinySource` has a header of 8 bytes.
		const span = { file: FILE, start: begin - 8 + headerBytes, end: end - 8 + headerBytes };
		const last = spans.at(-1);
		if (last?.end === span.start) spans[spans.length - 1] = { ...last, end: span.end };
		else spans.push(span);
	}
	return spans;
}

/** Spans of a file with their counts, those that follow one another as one. */
function merged(spans: readonly (FileSpan & { readonly count: number })[]): FileSpan[] {
	const result: FileSpan[] = [];
	for (const { file, start, end, count } of spans) {
		expect(count, `${start}:${end}`).toBe(1);
		const last = result.at(-1);
		if (last?.end === start) result[result.length - 1] = { ...last, end };
		else result.push({ file, start, end });
	}
	return result;
}

test.each([
	{ name: "FP8", model: tinyDeepseek() },
	{ name: "MXFP4", model: tinyGptOss() },
])(
	"of a model in $name the Hub is asked for each byte of weights and scales once, and for no other",
	async ({ name, model }) => {
		const files = tinyFiles(model);
		const bytes = files.get(FILE)!;
		const headerBytes =
			8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
		const used = usedSpans(model, headerBytes);
		for (const [mesh, parallelism] of Object.entries({
			"rows inside blocks": { dpShard: 3 },
			"expert parallel": { dpShard: 2, tp: 2, ep: 4 },
		})) {
			await using hub = await createLocalHub({ repos: [{ id: `tiny/${name}`, files }] });
			const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
			const out = join(root, `${name} ${mesh}`);
			const options = { repo: `tiny/${name}`, out, memoryBytes: "16MiB", threads: 1, parallelism };
			const summary = done(await convert(parseConvertOptions({ ...options, environment })));
			const spans = weightSpans(hub.requests, new Map([[FILE, headerBytes]]));
			expect(merged(countsOf(spans))).toEqual(used);
			expect(summary).toMatchObject({ fetchedBytes: sumOf(used), requests: spans.length });
		}
	},
);
