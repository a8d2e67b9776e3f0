import { boxNumel, wholeBox } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import type { Expr } from "../core/expr.ts";
import type { Layout } from "../core/layout.ts";
import type { EntryFormat } from "../core/ports.ts";
import type { ModelMap } from "../core/recipe.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import { createPlan } from "../plan/create-plan.ts";
import type { Plan, PlanLimits } from "../plan/types.ts";

/** A tensor that is made, and which of the files or places it goes to. */
export interface MadeTensor {
	readonly name: string;
	readonly expr: Expr;
	/** From 0. */
	readonly place: number;
}

/** Data alone, with nothing around it. */
const RAW_FORMAT: EntryFormat = {
	name: "raw",
	geometry: (dtype, shape) => ({
		prefixBytes: 0,
		dataBytes: numel(shape) * itemBytes(dtype),
		suffixBytes: 0,
	}),
};

/** What a plan needs to know of a model only where it is laid out for a mesh. */
const NO_MODEL: Omit<ModelMap, "recipes"> = {
	family: "",
	target: "",
	facts: { layers: 0, attentionHeads: 0, keyValueHeads: 0, experts: 0, tiedEmbeddings: false },
	rules: {
		kind: "fsdp",
		fusedQkv: false,
		expertThreshold: "never",
		expertTensorParallel: false,
	},
	tied: [],
	dropped: [],
	synthesised: [],
	dequantised: [],
};

/**
 * The plan of tensors that are made whole; what does not fit into memory at once becomes several entries.
 *
 * @param rows - Rows of a tensor that are an entry. @default all
 * @throws {HfStreamDcpError} as `createPlan`.
 */
export function planTensors(
	source: Source,
	tensors: readonly MadeTensor[],
	limits: PlanLimits,
	rows: (expr: Expr) => number = ({ shape }) => shape[0] ?? 1,
): Plan {
	const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
	const layout: Layout = {
		worldSize: tensors.reduce((count, { place }) => Math.max(count, place + 1), 1),
		description: "whole tensors",
		shardsOf: (name, shape) => {
			const tensor = byName.get(name);
			const storedBy = tensor?.place ?? 0;
			return slabs(shape, tensor === undefined ? 1 : rows(tensor.expr)).map((box) => ({
				box,
				ranks: [storedBy],
				storedBy,
			}));
		},
		dtypeOf: (name) => byName.get(name)?.expr.dtype,
	};
	const recipes = tensors.map(({ name, expr }) => ({ fqn: name, expr, keepDtype: true }));
	const map: ModelMap = { ...NO_MODEL, recipes };
	return createPlan({
		source,
		map,
		layout,
		format: RAW_FORMAT,
		dtype: undefined,
		limits,
		use: "any",
	});
}

function slabs(shape: Shape, rows: number): ReturnType<typeof wholeBox>[] {
	const [all] = shape;
	if (all === undefined || rows >= all) return [wholeBox(shape)];
	return Array.from({ length: Math.ceil(all / rows) }, (_, index) => ({
		offset: shape.map((_size, axis) => (axis === 0 ? index * rows : 0)),
		size: [Math.min(rows, all - index * rows), ...shape.slice(1)],
	}));
}

/** As many rows as have about `bytes`. */
export function rowsOfBytes(bytes: number): (expr: Expr) => number {
	return ({ shape, dtype }) => {
		const rowBytes = boxNumel(wholeBox(shape.slice(1))) * itemBytes(dtype);
		return Math.max(1, Math.floor(bytes / Math.max(1, rowBytes)));
	};
}

/** The entries of a plan by the tensor that they are of. */
export function entriesOf(plan: Plan): ReadonlyMap<string, readonly number[]> {
	return new Map(
		plan.tensors.map(({ fqn, firstEntry, endEntry }) => [
			fqn,
			Array.from({ length: endEntry - firstEntry }, (_, i) => firstEntry + i),
		]),
	);
}
