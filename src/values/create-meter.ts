import { type Dtype, itemBytes } from "../core/dtype.ts";
import { createCodeMeter } from "./code-meter.ts";
import { valueTable } from "./float-table.ts";
import { createNumberMeter } from "./number-meter.ts";
import type { Meter } from "./statistics.ts";

/** Makes a meter of elements of `dtype`. Its memory does not grow with the tensor, but for four numbers of each call of `add`. */
export function createMeter(dtype: Dtype): Meter {
	const table = valueTable(dtype);
	return table === undefined
		? createNumberMeter(dtype)
		: createCodeMeter(table, itemBytes(dtype) === 1 ? 1 : 2);
}
