import { expect, test } from "vitest";
import { renderCheckpoint, renderSource } from "../../src/cli/render-inspect.ts";
import type { Entry, ReadCheckpoint, Source } from "../../src/index.ts";

function entry(row: number, file: string): Entry {
	return {
		fqn: "w",
		dtype: "float32",
		box: { offset: [row * 2, 0], size: [row === 1 ? 1 : 2, 4] },
		file,
		offset: 0,
		length: 1000,
	};
}

const CHECKPOINT: ReadCheckpoint = {
	directory: "/ckpt",
	metadataFiles: [".metadata"],
	metadataBytes: 400,
	plannerPaths: [],
	problems: [],
	tensors: [
		{
			fqn: "w",
			dtype: "float32",
			shape: [3, 4],
			entries: [entry(0, "__0_0.distcp"), entry(1, "__1_0.distcp")],
		},
		{
			fqn: "b",
			dtype: "int64",
			shape: [],
			entries: [{ ...entry(0, "__0_0.distcp"), fqn: "b", box: { offset: [], size: [] } }],
		},
	],
	objects: [{ fqn: "step", file: "__0_0.distcp", offset: 2000, length: 300 }],
	files: [
		{ name: "__0_0.distcp", bytes: 2300, isMissing: false },
		{ name: "__1_0.distcp", bytes: 0, isMissing: true },
	],
};

const SOURCE: Source = {
	repo: "org/name",
	commit: "0123456789abcdef0123456789abcdef01234567",
	files: [{ path: "model.safetensors", bytes: 108, headerBytes: 100 }],
	tensors: [
		{ name: "w", dtype: "float32", shape: [2], file: "model.safetensors", begin: 100, end: 108 },
	],
	config: undefined,
};

test("a checkpoint", () => {
	expect(renderCheckpoint(CHECKPOINT, Infinity)).toMatchInlineSnapshot(`
		"2 tensors, 3 chunks, 1 other object, 2 files, 2.30 kB, .metadata 400 B

		tensor  dtype    shape   chunks        files   stored
		w       float32  [3, 4]  2 × ≤ [2, 4]      2  2.00 kB
		b       int64    []      1 × []            1  1.00 kB

		file          chunks     size
		__0_0.distcp       2  2.30 kB
		__1_0.distcp       1  missing

		object (not unpickled)  stored
		step                     300 B"
	`);
});

test("a checkpoint, cut short", () => {
	const text = renderCheckpoint(CHECKPOINT, 1);
	expect(text).toContain("… and 1 more tensor; --limit 0 shows all");
	expect(text).toContain("… and 1 more file; --limit 0 shows all");
	expect(text).not.toContain("int64");
});

test("an empty checkpoint", () => {
	const empty: ReadCheckpoint = { ...CHECKPOINT, tensors: [], objects: [], files: [] };
	expect(renderCheckpoint(empty, 10)).toContain("0 tensors, 0 chunks, 0 files, 0 B");
});

test("a model repository", () => {
	expect(renderSource(SOURCE, 10)).toMatchInlineSnapshot(`
		"org/name @ 0123456789abcdef0123456789abcdef01234567
		1 tensor, 1 file, 8 B of weights

		tensor  dtype    shape  file               size
		w       float32  [2]    model.safetensors   8 B

		file                size
		model.safetensors  108 B"
	`);
});
