// The largest public models as the plan sees them: headers without weights, recipes, layouts.
import { readFileSync } from "node:fs";
import { dequantFp8Block } from "../../dist/src/core/dequant.js";
import { permute, reshape, source, sourcesOf, stack } from "../../dist/src/core/expr.js";
import { createLayout } from "../../dist/src/layout/create-layout.js";
import { resolveParallelism } from "../../dist/src/layout/parallelism.js";

/** Keys and shapes that torchtitan's own code gave; `{}` stands for every layer of `layers`. */
const FLAVORS = JSON.parse(readFileSync(new URL("flavors.json", import.meta.url), "utf8"));

/** Meshes that their sizes call for: FSDP × TP, and experts on as many ranks as divide them. */
const CASES = JSON.parse(readFileSync(new URL("cases.json", import.meta.url), "utf8"));

/** A file of the repository is ended before it grows larger. */
const FILE_BYTES = 4.3e9;

/** In the order of a safetensors file: larger elements first. */
const WIDTHS = { float32: 4, bfloat16: 2, float8_e4m3fn: 1 };

/** What DeepSeek-V3 and Kimi-K2 leave in bfloat16. */
const NOT_QUANTISED = /^(tok_embeddings|lm_head|output)\.|\.gate\.weight$/;

const FP8_BLOCK = 128;

/** What `createPlan` wants to know of a case, but for the format and the limits. @param {string} name of `cases.json` */
export function inputsOf(name) {
	const { flavor, mesh, source: kind } = CASES[name];
	const { keys, ...facts } = FLAVORS[flavor];
	const recipes = Array.from({ length: facts.layers }, (_, layer) => layer).flatMap((layer) =>
		keys
			.filter(({ layers }) => isIn(layer, layers))
			.map((key) => recipeOf(key, layer, facts, kind)),
	);
	const first = keys.filter(({ layers }) => layers === null);
	const outer = first.map((key) => recipeOf(key, 0, facts, kind));
	const all = [outer[0], ...recipes, ...outer.slice(1)];
	const rules = {
		kind: "torchtitan",
		fusedQkv: false,
		expertThreshold: "fsdp",
		expertTensorParallel: false,
	};
	const layoutFacts = { ...facts, tiedEmbeddings: false };
	return {
		source: sourceOf(name, all),
		map: {
			family: "bench",
			target: "torchtitan",
			facts: layoutFacts,
			rules,
			recipes: all,
			tied: [],
			dropped: [],
			synthesised: [],
		},
		layout: createLayout({ parallelism: resolveParallelism(mesh), rules, facts: layoutFacts }),
		dtype: "keep",
	};
}

function isIn(layer, layers) {
	if (layers === null) return false;
	const [first, last = first] = layers.split("-").map(Number);
	return first <= layer && layer <= last;
}

/** Experts are stacked from one source tensor each; where RoPE permutes rows, they are permuted by head; all else is copied. */
function recipeOf({ key, shape, kind }, layer, { attentionHeads, keyValueHeads, experts }, from) {
	const fqn = key.replace("{}", layer);
	const dtype = kind === "buffer" ? "float32" : "bfloat16";
	const isFp8 = from === "fp8" && kind === "param" && shape.length > 1 && !NOT_QUANTISED.test(fqn);
	const weight = (name, size) => (isFp8 ? fp8(name, size) : source(name, dtype, size));
	const made = (expr) => ({ fqn, expr, keepDtype: kind === "buffer" });
	if (shape.length === 3 && shape[0] === experts) {
		const each = Array.from({ length: experts }, (_, e) =>
			weight(fqn.replace(/\.routed_experts\.inner_experts\./, `.experts.${e}.`), shape.slice(1)),
		);
		return made(stack(each, 0));
	}
	const heads = { wq: attentionHeads, wk: keyValueHeads }[/\.(wq|wk)\.weight$/.exec(fqn)?.[1]];
	if (heads === undefined) return made(weight(fqn, shape));
	const [rows, columns] = shape;
	const halves = reshape(weight(fqn, shape), [heads, 2, rows / heads / 2, columns]);
	return made(reshape(permute(halves, [0, 2, 1, 3]), shape));
}

function fp8(name, shape) {
	const scales = shape.map((size) => Math.ceil(size / FP8_BLOCK));
	const block = shape.map(() => FP8_BLOCK);
	return dequantFp8Block(
		source(name, "float8_e4m3fn", shape),
		source(`${name}_scale_inv`, "float32", scales),
		block,
	);
}

/** Tensors by name, layer by layer, as many to a file as fit; in a file by the width of their elements, then by name. */
function sourceOf(name, recipes) {
	const leaves = recipes.flatMap(({ expr }) => sourcesOf(expr));
	const layerOf = (tensor) => Number(/\.(\d+)\./.exec(tensor)?.[1] ?? -1);
	leaves.sort((a, b) => layerOf(a.name) - layerOf(b.name) || compare(a.name, b.name));
	const groups = [];
	let room = 0;
	for (const leaf of leaves) {
		const bytes = bytesOf(leaf);
		if (bytes > room) {
			groups.push([]);
			room = FILE_BYTES;
		}
		groups.at(-1).push(leaf);
		room -= bytes;
	}
	const files = [];
	const tensors = [];
	for (const [index, group] of groups.entries()) {
		const headerBytes = 20_000;
		const path = `model-${String(index + 1).padStart(5, "0")}.safetensors`;
		let begin = headerBytes;
		group.sort((a, b) => WIDTHS[b.dtype] - WIDTHS[a.dtype] || compare(a.name, b.name));
		for (const leaf of group) {
			const { name: tensor, dtype, shape } = leaf;
			const end = begin + bytesOf(leaf);
			tensors.push({ name: tensor, dtype, shape, file: path, begin, end });
			begin = end;
		}
		files.push({ path, bytes: begin, headerBytes });
	}
	return { repo: `bench/${name}`, commit: "0".repeat(40), files, tensors, config: undefined };
}

function bytesOf({ dtype, shape }) {
	return shape.reduce((product, size) => product * size, WIDTHS[dtype]);
}

function compare(a, b) {
	return a < b ? -1 : a > b ? 1 : 0;
}
