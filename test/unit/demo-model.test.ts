import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";

const MODEL = createDemoModel();

interface Header {
	readonly [name: string]: {
		readonly dtype: string;
		readonly shape: readonly number[];
		readonly data_offsets: readonly [number, number];
	};
}

function headerOf(file: Uint8Array): { header: Header; dataBytes: number } {
	const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
	expect(length % 8).toBe(0);
	const { __metadata__: _, ...header } = JSON.parse(
		new TextDecoder().decode(file.subarray(8, 8 + length)),
	) as Header;
	return { header, dataBytes: file.length - 8 - length };
}

const SHARDS = [...MODEL.files].filter(([path]) => path.endsWith(".safetensors"));

function digest(files: ReadonlyMap<string, Uint8Array>): string[] {
	return [...files].map(
		([path, bytes]) => `${path} ${createHash("sha256").update(bytes).digest("hex")}`,
	);
}

test("the same bytes on every call", () => {
	expect(digest(createDemoModel().files)).toEqual(digest(MODEL.files));
});

test("small, and in several files", () => {
	const total = [...MODEL.files.values()].reduce((sum, { length }) => sum + length, 0);
	expect(total).toBeGreaterThan(10e6);
	expect(total).toBeLessThan(30e6);
	expect(SHARDS.length).toBeGreaterThan(2);
});

test("every file's tensors cover its data section exactly", () => {
	for (const [, file] of SHARDS) {
		const { header, dataBytes } = headerOf(file);
		let end = 0;
		for (const { shape, data_offsets } of Object.values(header)) {
			expect(data_offsets[0]).toBe(end);
			end = data_offsets[1];
			expect(end - data_offsets[0]).toBe(2 * shape.reduce((a, b) => a * b, 1));
		}
		expect(end).toBe(dataBytes);
	}
});

test("the index lists exactly the tensors of the files", () => {
	const index = JSON.parse(
		new TextDecoder().decode(MODEL.files.get("model.safetensors.index.json")),
	) as {
		weight_map: { [name: string]: string };
	};
	const found = SHARDS.flatMap(([path, file]) =>
		Object.keys(headerOf(file).header).map((name) => [name, path]),
	);
	expect(index.weight_map).toEqual(Object.fromEntries(found));
});

test("has what makes Llama 4 hard: vision, dense and expert layers, shared experts", () => {
	const names = SHARDS.flatMap(([, file]) => Object.keys(headerOf(file).header));
	for (const pattern of [
		/^vision_model\./,
		/^multi_modal_projector\./,
		/layers\.0\.feed_forward\.gate_proj/,
		/layers\.1\.feed_forward\.experts\.gate_up_proj/,
		/layers\.1\.feed_forward\.shared_expert/,
	]) {
		expect(
			names.some((name) => pattern.test(name)),
			String(pattern),
		).toBe(true);
	}
});

test("values are finite and varied", () => {
	for (const [, file] of SHARDS) {
		const values = new Uint16Array(file.slice(-20_000).buffer);
		expect(values.every((bits) => ((bits >> 7) & 0xff) < 0xff)).toBe(true);
		expect(new Set(values).size).toBeGreaterThan(500);
	}
});
