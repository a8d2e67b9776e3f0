import { type Box, boxNumel } from "../core/box.ts";
import { type Dtype, itemBytes } from "../core/dtype.ts";

/** Bytes of all elements of some blocks. */
export function dataBytesOf(
	tensors: Iterable<{ readonly dtype: Dtype; readonly entries: readonly { readonly box: Box }[] }>,
): number {
	let sum = 0;
	for (const { dtype, entries } of tensors) {
		for (const { box } of entries) sum += boxNumel(box) * itemBytes(dtype);
	}
	return sum;
}
