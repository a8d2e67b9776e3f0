import { CODE_SHIFTS, type KernelName, UNITS_PER_WORD } from "../job-table.ts";
import { ADDRESSING, bindings } from "./addressing.ts";
import { entryPoint } from "./entry-point.ts";
import { FLOATS } from "./floats.ts";
import { LOADS } from "./load.ts";
import { PRODUCTS } from "./products.ts";

/** How a buffer is bound. */
export interface Binding {
	readonly binding: number;
	readonly type: "read-only-storage" | "storage" | "uniform";
	readonly hasDynamicOffset: boolean;
}

/** The buffers of group 0 of every kernel: source, target, table of jobs, parameters of the dispatch. */
export const BINDINGS: readonly Binding[] = [
	{ binding: 0, type: "read-only-storage", hasDynamicOffset: false },
	{ binding: 1, type: "storage", hasDynamicOffset: false },
	{ binding: 2, type: "read-only-storage", hasDynamicOffset: false },
	{ binding: 3, type: "uniform", hasDynamicOffset: true },
];

/** Name of the entry point of every kernel. */
export const ENTRY_POINT = "main";

/**
 * The WGSL of a kernel: integers alone, no barrier, no optional feature.
 *
 * @param name - Which; the table of jobs is described in `job-table.ts`.
 */
export function kernelSource(name: KernelName): string {
	const perWord = UNITS_PER_WORD[name];
	const entry = entryPoint({ perWord, isMove: name.startsWith("move") });
	return [bindings(perWord > 1), ADDRESSING, LOADS, ...unitOf(name), entry].join("\n");
}

/** What makes one unit, and the functions that it needs. */
function unitOf(name: KernelName): readonly string[] {
	switch (name) {
		case "move8":
			return [makeUnit("load8(place.source)")];
		case "move16":
			return [makeUnit("load16(place.source)")];
		case "move32":
			return [makeUnit("load32(place.source)")];
		case "cast16":
		case "cast32":
			return [FLOATS, makeUnit(encoded(`load_float(place.source, ${code("from")})`))];
		case "dequant16":
		case "dequant32": {
			const element = `element_of(place.source, ${code("from")})`;
			const scale = `scale_of(place.scale, ${code("scale")})`;
			return [FLOATS, PRODUCTS, makeUnit(encoded(`product(${element}, ${scale})`))];
		}
	}
}

function makeUnit(expression: string): string {
	return `fn unit_of(job : u32, place : Place) -> u32 {
	return ${expression};
}
`;
}

function encoded(bits: string): string {
	return `encode(${bits}, ${code("to")})`;
}

function code(field: "from" | "scale" | "to"): string {
	return `code_of(job, ${CODE_SHIFTS[field]}u)`;
}
