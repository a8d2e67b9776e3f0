import type { ModuleNode } from "../../index.ts";

/** JSON of what a checkpoint or a model holds, with its tree as `modules`. */
export function treeJson(contents: object, tree: ModuleNode): string {
	return JSON.stringify({ ...contents, modules: plainNode(tree) }, undefined, "\t");
}

/** A node without what only tells whether two tensors are cut alike, which is long. */
function plainNode({ item, children, ...node }: ModuleNode): object {
	const { name, tensor, bytes } = item ?? {};
	const plain =
		tensor === undefined
			? { name, bytes }
			: { name, bytes, dtype: tensor.dtype, shape: tensor.shape, chunks: tensor.chunkCount };
	return {
		...node,
		item: item === undefined ? undefined : plain,
		children: children.map(plainNode),
	};
}
