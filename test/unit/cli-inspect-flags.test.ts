import { join } from "node:path";
import { expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { createFakeIo } from "../support/cli-io.ts";

const SMALL = join(import.meta.dirname, "../fixtures/dcp/real_small");

test.each([
	[["--chunk", "0"], "--chunk is about one tensor"],
	[["--source"], "--source is about one tensor"],
	[["--no-stats"], "--no-stats is about one tensor"],
	[["--tensor", "w", "--flat"], "--flat is about all tensors"],
	[["--tensor", "w", "--depth", "2"], "--depth is about all tensors"],
	[["--flat", "--files"], "two different tables"],
	[["--flat", "--depth", "1"], "--depth is for the tree"],
	[["--depth", "0"], "--depth: expected"],
	[["--limit", "many"], "--limit: expected"],
	[["--module", "nowhere"], "nothing is called nowhere"],
	[["--tensor", "w", "--precision", "x"], "--precision: expected"],
	[["--tensor", "w", "--precision", "21"], "at most 20"],
	[["--tensor", "w", "--chunk", "-1"], "--chunk: expected"],
	[["--entry", "file"], "expected FILE:OFFSET"],
	[["--tensor", "w[2]"], "index 2 of axis 0, which has 2"],
	[["--tensor", "v"], "has no tensor v"],
	[["--tensor", "step"], "is a pickled object, not a tensor"],
	[["--tensor", "w", "--source"], "no manifest"],
])("inspect %j is a mistake", async (flags, message) => {
	const io = createFakeIo();
	expect(await main(["inspect", SMALL, ...flags], io)).toBe(2);
	expect(io.takeErr()).toContain(message);
	expect(io.out()).toBe("");
});

test("a tensor of torch's, as text", async () => {
	const io = createFakeIo();
	expect(await main(["inspect", SMALL, "--tensor", "w[:, -2:]", "--precision", "1"], io)).toBe(0);
	expect(io.out().replaceAll(SMALL, "CKPT")).toMatchInlineSnapshot(`
		"w  bfloat16 [2, 3]
		in CKPT
		of it [0:2, 1:3], [2, 2]

		chunk  block       file          entry at  data       size
		    0  [0:2, 0:3]  __0_0.distcp      1261  1965–1977  12 B

		elements         4
		min              1
		max              5
		mean             3
		std       1.825742
		NaN              0
		Inf              0
		zeros            0

		tensor([[1., 2.],
		        [4., 5.]], dtype=torch.bfloat16)

		read 10 B from this machine in 1 request, 8 B of it needed
		"
	`);
});

test("a tensor of torch's, as JSON", async () => {
	const io = createFakeIo();
	expect(await main(["inspect", SMALL, "--tensor", "s", "--json"], io)).toBe(0);
	const { name, dtype, shape, values, source } = JSON.parse(io.out()) as {
		readonly [key: string]: unknown;
	};
	expect([name, dtype, shape, source]).toEqual(["s", "float32", [], null]);
	expect(values).toMatchObject({ statistics: { elements: 1, std: null }, read: { readBytes: 4 } });
});

test("a tree, a module of it, and its files", async () => {
	const io = createFakeIo();
	for (const flags of [[], ["--module", "step"], ["--files"]]) {
		expect(await main(["inspect", SMALL, ...flags], io)).toBe(0);
	}
	expect(io.out().replaceAll(SMALL, "CKPT")).toMatchInlineSnapshot(`
		"CKPT

		module  params     size  dtype     shape          chunks
		w            6  1.58 kB  bfloat16  [2, 3]         1 × [2, 3]
		s            1  1.58 kB  float32   []             1 × []
		step            1.26 kB  object    not unpickled

		2 tensors, 7 parameters, 2 chunks, 1 other object, 1 file, 4.42 kB, .metadata 1.08 kB
		CKPT

		module  params     size  dtype   shape
		step            1.26 kB  object  not unpickled

		0 tensors, 0 parameters, 0 chunks, 1 other object, 1.26 kB
		file          chunks     size
		__0_0.distcp       2  4.42 kB
		"
	`);
});
