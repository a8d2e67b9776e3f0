import { type Dtype, itemBytes } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";
import { valueTable } from "./float-table.ts";
import { integerOf } from "./wide-extremes.ts";

/** A complex number. */
export interface Complex {
	readonly re: number;
	readonly im: number;
}

/** An element's value. `bigint` for 64-bit integers that a number does not hold exactly. */
export type ElementValue = number | bigint | boolean | Complex;

/** The values of whole elements, little-endian, that lie one after the other. */
export function elementsOf(dtype: Dtype, bytes: Uint8Array): ElementValue[] {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const width = itemBytes(dtype);
	const read = readerOf(dtype, view);
	return Array.from({ length: bytes.length / width }, (_, i) => read(i * width));
}

function readerOf(dtype: Dtype, view: DataView): (at: number) => ElementValue {
	const table = valueTable(dtype);
	if (dtype === "bool") return (at) => view.getUint8(at) !== 0;
	if (table !== undefined) {
		return itemBytes(dtype) === 1
			? (at) => table[view.getUint8(at)] ?? 0
			: (at) => table[view.getUint16(at, true)] ?? 0;
	}
	const wide = WIDE[dtype];
	invariant(wide !== undefined, `no values of ${dtype}`);
	return (at) => wide(view, at);
}

/** Reads elements of more than 16 bits. */
const WIDE: { readonly [D in Dtype]?: (view: DataView, at: number) => ElementValue } = {
	float32: (view, at) => view.getFloat32(at, true),
	float64: (view, at) => view.getFloat64(at, true),
	int32: (view, at) => view.getInt32(at, true),
	uint32: (view, at) => view.getUint32(at, true),
	int64: (view, at) => integerOf(view.getUint32(at, true), view.getInt32(at + 4, true)),
	uint64: (view, at) => integerOf(view.getUint32(at, true), view.getUint32(at + 4, true)),
	complex64: (view, at) => ({ re: view.getFloat32(at, true), im: view.getFloat32(at + 4, true) }),
};
