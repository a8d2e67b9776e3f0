import { type Dtype, itemBytes } from "../../core/dtype.ts";
import { float16ToFloat32 } from "../../stream/cpu/float-bits.ts";

/** One element, for people and programs. */
export interface ElementText {
	/** Its bits, `0x3f80`. */
	readonly bits: string;
	/** Its value in decimal, `NaN` or `Infinity`; `undefined` for dtypes whose values are not written out. */
	readonly value?: string | undefined;
}

/** Reads the value of the element that begins at a byte of a view. */
export type ReadValue = (view: DataView, byte: number) => number | bigint;

const word = new DataView(new ArrayBuffer(4));

function float32Of(bits: number): number {
	word.setUint32(0, bits);
	return word.getFloat32(0);
}

const READ: { readonly [D in Dtype]?: ReadValue } = {
	float64: (view, byte) => view.getFloat64(byte, true),
	float32: (view, byte) => view.getFloat32(byte, true),
	float16: (view, byte) => float32Of(float16ToFloat32(view.getUint16(byte, true))),
	bfloat16: (view, byte) => float32Of((view.getUint16(byte, true) << 16) >>> 0),
	int64: (view, byte) => view.getBigInt64(byte, true),
	int32: (view, byte) => view.getInt32(byte, true),
	int16: (view, byte) => view.getInt16(byte, true),
	int8: (view, byte) => view.getInt8(byte),
	uint64: (view, byte) => view.getBigUint64(byte, true),
	uint32: (view, byte) => view.getUint32(byte, true),
	uint16: (view, byte) => view.getUint16(byte, true),
	uint8: (view, byte) => view.getUint8(byte),
	bool: (view, byte) => view.getUint8(byte),
};

/** How the values of a dtype are read; `undefined` for those that are shown as bits alone: 8-bit floats and complex numbers. */
export function readerOf(dtype: Dtype): ReadValue | undefined {
	return READ[dtype];
}

/** The element of `dtype` that begins at byte `at` of `bytes`. */
export function elementText(dtype: Dtype, bytes: Uint8Array, at: number): ElementText {
	// A copy: a Buffer's own `slice` is none.
	const own = Uint8Array.from(bytes.subarray(at, at + itemBytes(dtype)));
	const value = readerOf(dtype)?.(new DataView(own.buffer), 0);
	const bits = `0x${Buffer.from(own.toReversed()).toString("hex")}`;
	return value === undefined ? { bits } : { bits, value: `${value}` };
}

/** `1.5 (0x3fc0)` for messages. */
export function formatElement({ bits, value }: ElementText): string {
	return value === undefined ? bits : `${value} (${bits})`;
}
