import type { ExportedTensor } from "./plan-export.ts";
import {
	divideBySize,
	type FileTensor,
	inFileOrder,
	layOutFile,
	type ShardFile,
	shardPath,
	type WeightNames,
} from "./shard-files.ts";

/** How tensors are divided into files: as in the model that the checkpoint was made of, or by size. */
export type ShardDivision =
	| { readonly by: "original" }
	/** At most so much data in a file. */
	| { readonly by: "size"; readonly maxBytes: number };

/** Lays out the files of a model. */
export function divideTensors(
	tensors: readonly ExportedTensor[],
	division: ShardDivision,
	names: WeightNames,
): readonly ShardFile[] {
	if (division.by === "size") {
		const groups = divideBySize(tensors.map(fileTensorOf), division.maxBytes);
		return groups.map((own, index) =>
			layOutFile(shardPath(names, index, groups.length), inFileOrder(own)),
		);
	}
	const byFile = new Map<string, ExportedTensor[]>();
	for (const tensor of tensors) {
		const own = byFile.get(tensor.original.file) ?? [];
		byFile.set(tensor.original.file, own);
		own.push(tensor);
	}
	return [...byFile].map(([path, own]) => {
		const isUnchanged = own.every(({ expr, original }) => original.dtype === expr.dtype);
		const placed = own.map(fileTensorOf);
		return layOutFile(path, isUnchanged ? placed : inFileOrder(placed));
	});
}

function fileTensorOf({ name, expr: { dtype, shape } }: ExportedTensor): FileTensor {
	return { name, dtype, shape };
}
