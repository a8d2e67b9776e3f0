import type { Box } from "../core/box.ts";
import { at } from "../core/shape.ts";
import type { AxisSpan, Plan, PlanPart, PlanTile } from "./types.ts";

/** The part of `box` that lies in `spans`, each of which lies in `box`. */
export function boxIn(box: Box, spans: readonly AxisSpan[]): Box {
	if (spans.length === 0) return box;
	const offset = [...box.offset];
	const size = [...box.size];
	for (const { axis, start, end } of spans) {
		offset[axis] = start;
		size[axis] = end - start;
	}
	return { offset, size };
}

/** The parts that a tile fills. */
export function partsOf(plan: Pick<Plan, "entries">, tile: Pick<PlanTile, "slabs">): PlanPart[] {
	return tile.slabs.flatMap(({ firstEntry, endEntry, spans }) =>
		Array.from({ length: endEntry - firstEntry }, (_, i) => {
			const entry = firstEntry + i;
			return { entry, box: boxIn(at(plan.entries, entry).box, spans) };
		}),
	);
}
