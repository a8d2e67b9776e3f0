import { expect, test } from "vitest";
import { renderCheckpoint, renderSource } from "../../src/cli/render-inspect.ts";
import type { CheckpointIndex, Entry, Source } from "../../src/index.ts";

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

const INDEX: CheckpointIndex = {
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
};

const FILES = [
	{ name: "__0_0.distcp", bytes: 2300 },
	{ name: "__1_0.distcp", bytes: 1000 },
];

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
	expect(renderCheckpoint(INDEX, FILES, Infinity)).toMatchInlineSnapshot(`
		"2 tensors, 3 chunks, 1 other object, 2 files, 3.30 kB

		tensor  dtype    shape   chunks        files   stored
		w       float32  [3, 4]  2 × ≤ [2, 4]      2  2.00 kB
		b       int64    []      1 × []            1  1.00 kB

		file          chunks     size
		__0_0.distcp       2  2.30 kB
		__1_0.distcp       1  1.00 kB

		object (not unpickled)  stored
		step                     300 B"
	`);
});

test("a checkpoint, cut short", () => {
	const text = renderCheckpoint(INDEX, FILES, 1);
	expect(text).toContain("… and 1 more tensors; --limit 0 shows all");
	expect(text).toContain("… and 1 more files; --limit 0 shows all");
	expect(text).not.toContain("int64");
});

test("an empty checkpoint", () => {
	expect(renderCheckpoint({ tensors: [], objects: [] }, [], 10)).toContain(
		"0 tensors, 0 chunks, 0 files, 0 B",
	);
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
