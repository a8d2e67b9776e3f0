// The largest public models as the plan sees them: headers without weights, recipes, layouts.
import { readFileSync } from "node:fs";
import { permute, reshape, source, stack } from "../../dist/src/core/expr.js";
import { createLayout } from "../../dist/src/layout/create-layout.js";
import { resolveParallelism } from "../../dist/src/layout/parallelism.js";

/** Keys and shapes that torchtitan's own code gave; `{}` stands for every layer of `layers`. */
const FLAVORS = JSON.parse(readFileSync(new URL("flavors.json", import.meta.url), "utf8"));

/** Meshes that their sizes call for: FSDP × TP, and experts on as many ranks as divide them. */
const CASES = JSON.parse(readFileSync(new URL("cases.json", import.meta.url), "utf8"));

/** A file of the repository is ended before it grows larger. */
const FILE_BYTES = 4.3e9;

const WIDTHS = { bfloat16: 2, float32: 4 };

/** What `createPlan` wants to know of a case, but for the format and the limits. @param {string} name of `cases.json` */
export function inputsOf(name) {
	const { flavor, mesh } = CASES[name];
	const { keys, ...facts } = FLAVORS[flavor];
	const recipes = Array.from({ length: facts.layers }, (_, layer) => layer).flatMap((layer) =>
		keys.filter(({ layers }) => isIn(layer, layers)).map((key) => recipeOf(key, layer, facts)),
	);
	const first = keys.filter(({ layers }) => layers === null);
	const outer = first.map((key) => recipeOf(key, 0, facts));
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
function recipeOf({ key, shape, kind }, layer, { attentionHeads, keyValueHeads, experts }) {
	const fqn = key.replace("{}", layer);
	const dtype = kind === "buffer" ? "float32" : "bfloat16";
	const made = (expr) => ({ fqn, expr, keepDtype: kind === "buffer" });
	if (shape.length === 3 && shape[0] === experts) {
		const each = Array.from({ length: experts }, (_, e) =>
			source(`${fqn}.${e}`, dtype, shape.slice(1)),
		);
		return made(stack(each, 0));
	}
	const heads = { wq: attentionHeads, wk: keyValueHeads }[/\.(wq|wk)\.weight$/.exec(fqn)?.[1]];
	if (heads === undefined) return made(source(fqn, dtype, shape));
	const [rows, columns] = shape;
	const halves = reshape(source(fqn, dtype, shape), [heads, 2, rows / heads / 2, columns]);
	return made(reshape(permute(halves, [0, 2, 1, 3]), shape));
}

function leavesOf(expr) {
	if (expr.kind === "source") return [expr];
	return expr.kind === "stack" ? expr.parts : leavesOf(expr.of);
}

function sourceOf(name, recipes) {
	const files = [];
	const tensors = [];
	let file = { path: "", bytes: Infinity };
	for (const { expr } of recipes) {
		for (const { name: tensor, dtype, shape } of leavesOf(expr)) {
			const bytes = shape.reduce((product, size) => product * size, WIDTHS[dtype]);
			if (file.bytes + bytes > FILE_BYTES) {
				const headerBytes = 20_000;
				file = {
					path: `model-${String(files.length + 1).padStart(5, "0")}.safetensors`,
					bytes: headerBytes,
					headerBytes,
				};
				files.push(file);
			}
			const end = file.bytes + bytes;
			tensors.push({ name: tensor, dtype, shape, file: file.path, begin: file.bytes, end });
			file.bytes = end;
		}
	}
	return { repo: `bench/${name}`, commit: "0".repeat(40), files, tensors, config: undefined };
}
