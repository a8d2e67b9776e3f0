import { boxNumel, wholeBox } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import type { Expr } from "../core/expr.ts";
import type { Shape } from "../core/shape.ts";
import type { Source } from "../core/source.ts";
import { planExprs } from "../plan/plan-exprs.ts";
import type { Plan, PlanLimits } from "../plan/types.ts";

/** A tensor that is made, and which of the files or places it goes to. */
export interface MadeTensor {
	readonly name: string;
	readonly expr: Expr;
	/** From 0. */
	readonly place: number;
}

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
	return planExprs({
		source,
		tensors: tensors.map(({ name, expr }) => ({ fqn: name, expr })),
		worldSize: tensors.reduce((count, { place }) => Math.max(count, place + 1), 1),
		shardsOf: (name, shape) => {
			const tensor = byName.get(name);
			const storedBy = tensor?.place ?? 0;
			return slabs(shape, tensor === undefined ? 1 : rows(tensor.expr)).map((box) => ({
				box,
				ranks: [storedBy],
				storedBy,
			}));
		},
		limits,
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
