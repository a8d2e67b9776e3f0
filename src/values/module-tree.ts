import type { Dtype } from "../core/dtype.ts";
import { numel, type Shape } from "../core/shape.ts";

/** A tensor, or a pickled object, of a checkpoint or a model. */
export interface TreeItem {
	/** With dots between the modules. */
	readonly name: string;
	/** `undefined` for an object that is no tensor. */
	readonly tensor: TreeTensor | undefined;
	/** What it takes in its files. */
	readonly bytes: number;
}

/** A tensor of the tree. */
export interface TreeTensor {
	readonly dtype: Dtype;
	readonly shape: Shape;
	/** How it is cut, for people: `8 × [64, 5120]`. Empty where nothing is cut. */
	readonly chunks: string;
	/** Number of chunks; 0 where nothing is cut. */
	readonly chunkCount: number;
	/** Equal for tensors that are cut alike. */
	readonly cut: string;
}

/** A module, or several that are alike, or an item. */
export interface ModuleNode {
	/** Names below the parent's: `layers`, `attention.wq`, `0–47`. */
	readonly label: string;
	/** How many modules it stands for: more than one where their sub-trees have the same names, dtypes, shapes and chunks. */
	readonly count: number;
	/** Elements of the tensors of one of them. */
	readonly params: number;
	/** Stored bytes of one of them, objects included. */
	readonly bytes: number;
	/** Tensors of one of them. */
	readonly tensors: number;
	/** The item that has this name. */
	readonly item: TreeItem | undefined;
	readonly children: readonly ModuleNode[];
}

/** A module while the tree grows. */
interface Branch {
	readonly children: Map<string, Branch>;
	item: TreeItem | undefined;
}

/**
 * The modules that names with dots describe, in the order of first mention. Numbered siblings that are alike are folded into one node, and
 * a module of a single part is joined with it.
 *
 * @returns The node of all, whose label is empty.
 */
export function moduleTree(items: Iterable<TreeItem>): ModuleNode {
	const root: Branch = { children: new Map(), item: undefined };
	for (const item of items) {
		let branch = root;
		for (const part of item.name.split(".")) {
			const next = branch.children.get(part) ?? { children: new Map(), item: undefined };
			branch.children.set(part, next);
			branch = next;
		}
		branch.item = item;
	}
	return { ...grown("", root).node, label: "" };
}

/** A node, and a text that is the same for nodes that can be folded. */
interface Grown {
	readonly node: ModuleNode;
	readonly likeness: string;
}

function grown(label: string, branch: Branch): Grown {
	const { item } = branch;
	const all = [...branch.children].map(([name, child]) => ({ name, ...grown(name, child) }));
	const groups = new Map<string, typeof all>();
	for (const child of all) {
		const key = /^\d+$/.test(child.name) ? `#${child.likeness}` : `.${child.name}`;
		const group = groups.get(key);
		if (group === undefined) groups.set(key, [child]);
		else group.push(child);
	}
	const children = [...groups.values()].flatMap((group): ModuleNode[] => {
		const [first] = group;
		if (first === undefined) return [];
		if (group.length === 1) return [joined(first.node)];
		const names = indexRanges(group.map(({ name }) => Number(name)));
		return [joined({ ...first.node, label: names, count: group.length })];
	});
	const sum = (of: (node: ModuleNode) => number): number =>
		children.reduce((total, node) => total + node.count * of(node), 0);
	const tensor = item?.tensor;
	const node: ModuleNode = {
		label,
		count: 1,
		params: sum(({ params }) => params) + (tensor === undefined ? 0 : numel(tensor.shape)),
		bytes: sum(({ bytes }) => bytes) + (item?.bytes ?? 0),
		tensors: sum(({ tensors }) => tensors) + (tensor === undefined ? 0 : 1),
		item,
		children,
	};
	const parts = all.map((child) => `${child.name}${child.likeness}`);
	return { node, likeness: `(${likenessOf(item)}${parts.join(",")})` };
}

function likenessOf(item: TreeItem | undefined): string {
	if (item === undefined) return "";
	const { tensor } = item;
	return tensor === undefined ? "object" : `${tensor.dtype}[${tensor.shape.join()}]${tensor.cut};`;
}

/** A module that is nothing but its only part is one line with it. */
function joined(node: ModuleNode): ModuleNode {
	const [only, ...more] = node.children;
	if (only === undefined || more.length > 0 || node.item !== undefined) return node;
	if (node.count > 1 && only.count > 1) return node;
	const counted = node.count > 1 ? { ...only, count: node.count } : only;
	return { ...counted, label: `${node.label}.${only.label}` };
}

/** Most ranges that are listed one by one. */
const MAX_RANGES = 4;

/** `0–47`, `0, 2 … 46`, `3, 7–9`; ascending. */
export function indexRanges(indices: readonly number[]): string {
	const sorted = indices.toSorted((a, b) => a - b);
	const [first, second] = sorted;
	const last = sorted.at(-1);
	if (first === undefined || second === undefined || last === undefined) return sorted.join(", ");
	const step = second - first;
	const isEven = sorted.every((index, i) => index === first + i * step);
	if (isEven && step > 1 && sorted.length > 2) return `${first}, ${second} … ${last}`;
	const ranges: [number, number][] = [];
	for (const index of sorted) {
		const range = ranges.at(-1);
		if (range !== undefined && range[1] + 1 === index) range[1] = index;
		else ranges.push([index, index]);
	}
	const texts = ranges.map(([from, to]) =>
		from === to ? `${from}` : `${from}${to === from + 1 ? ", " : "–"}${to}`,
	);
	return texts.length <= MAX_RANGES
		? texts.join(", ")
		: [...texts.slice(0, MAX_RANGES - 1), "…", ...texts.slice(-1)].join(", ");
}
