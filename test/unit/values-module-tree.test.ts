import { expect, test } from "vitest";
import { renderTree } from "../../src/cli/inspect/render-tree.ts";
import { indexRanges, moduleTree, type TreeItem } from "../../src/values/module-tree.ts";

function tensor(name: string, shape: readonly number[], rows = shape[0] ?? 1): TreeItem {
	const size = shape.map((length, axis) => (axis === 0 ? rows : length));
	const chunkCount = Math.ceil((shape[0] ?? 1) / rows);
	const elements = shape.reduce((a, b) => a * b, 1);
	const chunks = `${chunkCount} × [${size.join(", ")}]`;
	return {
		name,
		tensor: { dtype: "bfloat16", shape, chunks, chunkCount, cut: `${rows}` },
		bytes: elements * 2,
	};
}

function layer(index: number, rows = 4): TreeItem[] {
	return [
		tensor(`layers.${index}.attention.wq.weight`, [8, 16], rows),
		tensor(`layers.${index}.attention.wo.weight`, [16, 8], rows),
		tensor(`layers.${index}.norm.weight`, [8]),
	];
}

const MODEL: readonly TreeItem[] = [
	tensor("tok_embeddings.weight", [4000, 8], 1000),
	...Array.from({ length: 48 }, (_, index) => layer(index)).flat(),
	tensor("norm.weight", [8]),
	{ name: "step", tensor: undefined, bytes: 300 },
];

test("layers that are alike are one line", () => {
	expect(renderTree(moduleTree(MODEL), { limit: Infinity })).toMatchInlineSnapshot(`
		"module                   params        size  dtype     shape          chunks
		tok_embeddings.weight     32.0k     64.0 kB  bfloat16  [4000, 8]      4 × [1000, 8]
		layers.0–47 (48 ×)     48 × 264  48 × 528 B
		├─ attention                256       512 B
		│  ├─ wq.weight             128       256 B  bfloat16  [8, 16]        2 × [4, 16]
		│  └─ wo.weight             128       256 B  bfloat16  [16, 8]        4 × [4, 8]
		└─ norm.weight                8        16 B  bfloat16  [8]            1 × [8]
		norm.weight                   8        16 B  bfloat16  [8]            1 × [8]
		step                                  300 B  object    not unpickled"
	`);
});

test.each([
	["another shape", tensor("layers.7.norm.weight", [9])],
	["other chunks", tensor("layers.7.norm.weight", [8], 2)],
	["one more tensor", tensor("layers.7.extra", [8])],
	["an object", { name: "layers.7.norm.weight", tensor: undefined, bytes: 16 }],
])("a layer with %s stands alone", (_, odd) => {
	const others = MODEL.filter(({ name }) => name !== odd.name);
	const [, layers] = moduleTree([...others, odd]).children;
	expect(layers?.label).toBe("layers");
	expect(layers?.children.map(({ label, count }) => [label, count])).toEqual([
		["0–6, 8–47", 47],
		["7", 1],
	]);
	const total = (layers?.children ?? []).reduce((sum, { count, bytes }) => sum + count * bytes, 0);
	expect(layers?.bytes).toBe(total);
});

test("sums are those of the tensors, however they are folded", () => {
	const tree = moduleTree(MODEL);
	expect(tree.bytes).toBe(MODEL.reduce((sum, { bytes }) => sum + bytes, 0));
	expect(tree.params).toBe((tree.bytes - 300) / 2);
	expect(tree.tensors).toBe(MODEL.length - 1);
});

test("a depth closes what lies deeper", () => {
	const text = renderTree(moduleTree(MODEL), { depth: 1, limit: Infinity });
	expect(text.split("\n")).toHaveLength(5);
	expect(text).toMatch(/layers\.0–47 \(48 ×\) .* 3 tensors/);
});

test("a name that is a tensor and a module", () => {
	const [node] = moduleTree([tensor("a", [2]), tensor("a.b", [3])]).children;
	expect(node?.item?.name).toBe("a");
	expect(node?.children.map(({ label }) => label)).toEqual(["b"]);
	expect(node?.params).toBe(5);
});

test("folds inside of folds", () => {
	const items = [0, 1].flatMap((l) =>
		[0, 1, 2].map((e) => tensor(`layers.${l}.experts.${e}.w`, [4])),
	);
	expect(renderTree(moduleTree(items), { limit: 9 })).toMatchInlineSnapshot(`
		"module                  params      size  dtype     shape  chunks
		layers.0, 1 (2 ×)       2 × 12  2 × 24 B
		└─ experts.0–2.w (3 ×)   3 × 4   3 × 8 B  bfloat16  [4]    1 × [4]"
	`);
});

test.each([80, 100, 120])("fits into %i columns", (columns) => {
	const long = [
		...MODEL,
		tensor(
			"model.language_model.layers.0.block_sparse_moe.shared_experts.w1.weight",
			[202_048, 8192],
			512,
		),
	];
	const lines = renderTree(moduleTree(long), { columns, limit: Infinity }).split("\n");
	expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(columns);
	expect(lines.join("\n")).toContain("[202048, 8192]");
});

test("a long tree is cut", () => {
	const text = renderTree(moduleTree(MODEL), { limit: 3 });
	expect(text).toContain("… and 5 more rows");
});

test("names cannot speak to the terminal", () => {
	const text = renderTree(moduleTree([tensor("a\u001b[2Jb", [2])]), { limit: 9 });
	expect(text).toContain("a\\u001b[2Jb");
});

test.each([
	[[3], "3"],
	[[0, 1], "0, 1"],
	[[0, 1, 2, 3], "0–3"],
	[[0, 2, 4, 6], "0, 2 … 6"],
	[[1, 2, 3, 5, 9], "1–3, 5, 9"],
	[[0, 2, 3, 5, 7, 9, 10, 11, 20], "0, 2, 3, 5, …, 20"],
])("indices %j", (indices, text) => {
	expect(indexRanges(indices)).toBe(text);
});
