import { dequantFp8Block, dequantMxfp4 } from "../../src/core/dequant.ts";
import { type Expr, fill, permute, slice, source, sourcesOf, stack } from "../../src/core/expr.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type { Layout, Shard } from "../../src/core/layout.ts";
import type { EntryFormat } from "../../src/core/ports.ts";
import type { ModelMap } from "../../src/core/recipe.ts";
import { numel, type Shape } from "../../src/core/shape.ts";
import type { Source, SourceTensor } from "../../src/core/source.ts";

/** A container with easily recognised lengths. */
export const plainFormat: EntryFormat = {
	name: "plain",
	geometry: (dtype, shape) => ({
		prefixBytes: 64,
		dataBytes: numel(shape) * itemBytes(dtype),
		suffixBytes: 10,
	}),
};

/** A source whose files hold the tensors the expressions read, back to back, `perFile` to a file, in order of name. */
export function sourceFor(
	exprs: readonly Expr[],
	perFile: number,
	extra: readonly string[] = [],
): Source {
	const wanted = new Map(exprs.flatMap(sourcesOf).map((tensor) => [tensor.name, tensor]));
	for (const name of extra) {
		wanted.set(name, { kind: "source", name, dtype: "float32", shape: [7] });
	}
	const files: Source["files"][number][] = [];
	const tensors: SourceTensor[] = [];
	const names = [...wanted.keys()].toSorted();
	for (let i = 0; i < names.length; i += perFile) {
		const path = `model-${files.length}.safetensors`;
		const headerBytes = 100 + files.length;
		let begin = headerBytes;
		for (const name of names.slice(i, i + perFile)) {
			const { dtype, shape } = wanted.get(name)!;
			const end = begin + numel(shape) * itemBytes(dtype);
			tensors.push({ name, dtype, shape, file: path, begin, end });
			begin = end;
		}
		files.push({ path, bytes: begin, headerBytes });
	}
	return { repo: "test/model", commit: "0".repeat(40), files, tensors, config: {} };
}

/** Keys `t0`, `t1`, … made by the expressions. */
export function mapFor(
	exprs: readonly Expr[],
	notes: Partial<Pick<ModelMap, "tied" | "dropped">> = {},
): ModelMap {
	return {
		family: "test",
		target: "test",
		facts: { layers: 1, attentionHeads: 1, keyValueHeads: 1, experts: 0, tiedEmbeddings: false },
		rules: {
			kind: "torchtitan",
			fusedQkv: false,
			expertThreshold: "fsdp",
			expertTensorParallel: false,
		},
		recipes: exprs.map((expr, i) => ({ fqn: `t${i}`, expr, keepDtype: false })),
		tied: notes.tied ?? [],
		dropped: notes.dropped ?? [],
		synthesised: [],
		dequantised: [],
	};
}

/** Cuts axis `d` of every tensor into `parts[d]` ceil-sized blocks; replicas of each block on `replicas` ranks. */
export function gridLayout(parts: readonly number[], replicas = 1): Layout {
	const blocks = parts.reduce((product, count) => product * count, 1);
	return {
		worldSize: blocks * replicas,
		description: `grid ${parts.join("×")} ×${replicas}`,
		shardsOf(_, shape): readonly Shard[] {
			let boxes = [{ offset: [] as number[], size: [] as number[], rank: 0 }];
			shape.forEach((length, d) => {
				const count = parts[d] ?? 1;
				const block = Math.ceil(length / count);
				boxes = boxes.flatMap((box) =>
					Array.from({ length: count }, (_unused, i) => ({
						offset: [...box.offset, Math.min(length, i * block)],
						size: [...box.size, Math.max(0, Math.min(length, (i + 1) * block) - i * block)],
						rank: box.rank * count + i,
					})),
				);
			});
			return boxes
				.filter((box) => numel(box.size) > 0)
				.map(({ offset, size, rank }) => ({
					box: { offset, size },
					ranks: Array.from({ length: replicas }, (_unused, r) => r * blocks + rank),
				}));
		},
	};
}

/** FP8 weights in blocks of 8 × 8, and what `core/dequant.ts` makes of them. */
export function fp8(name: string, shape: Shape): Expr {
	const scales = source(
		`${name}_scale_inv`,
		"float32",
		shape.map((size) => Math.ceil(size / 8)),
	);
	return dequantFp8Block(
		source(name, "float8_e4m3fn", shape),
		scales,
		shape.map(() => 8),
	);
}

/** MXFP4 weights of `32 · groups` columns. */
export function mxfp4(name: string, outer: Shape, groups: number): Expr {
	return dequantMxfp4(
		source(`${name}_blocks`, "uint8", [...outer, groups, 16]),
		source(`${name}_scales`, "uint8", [...outer, groups]),
	);
}

/**
 * Every way in which tiles and entries hang together: interleaved transposes, stacks, constants, a tied and an empty tensor, scales
 * that neighbouring rows share.
 */
export function tangledExprs(): Expr[] {
	const s = (name: string, shape: Shape): Expr => source(name, "bfloat16", shape);
	const gateUp = s("gate_up", [3, 24, 40]);
	const embed = s("embed", [40, 24]);
	return [
		embed,
		s("norm", [24]),
		permute(slice(gateUp, 2, 0, 20), [0, 2, 1]),
		permute(slice(gateUp, 2, 20, 40), [0, 2, 1]),
		stack(
			Array.from({ length: 3 }, (_, e) => s(`experts.${e}`, [20, 24])),
			0,
		),
		fill([3], 0, "float32"),
		source("none", "float32", [0, 4]),
		embed,
		fp8("fp8", [22, 20]),
		permute(mxfp4("mxfp4", [2, 10], 1), [0, 2, 1]),
	];
}
