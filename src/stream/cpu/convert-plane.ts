import { HfStreamDcpError } from "../../core/errors.ts";
import type { PieceDim } from "../../core/ports.ts";
import {
	bfloat16ToFloat32,
	type CastDtype,
	converter,
	float32ToBfloat16,
	float32ToFloat16,
} from "./float-bits.ts";
import type { Elements } from "./elements.ts";

/** Converts `rows × count` elements of a plane; offsets and strides in elements. */
export type ConvertPlane = (
	source: Elements,
	from: number,
	target: Elements,
	to: number,
	rows: PieceDim,
	columns: PieceDim,
	count: number,
) => void;

/** The kernel for one pair of dtypes. */
export function convertPlaneKernel(from: CastDtype, to: CastDtype): ConvertPlane {
	const known = KERNELS[`${from}-${to}`];
	if (known === undefined) {
		throw new HfStreamDcpError("DTYPE_UNSUPPORTED", `no cast from ${from} to ${to}`);
	}
	return known;
}

// The loops are written out once per conversion: a conversion passed in as a function is not inlined once there are several.

const widenBfloat16: ConvertPlane = (source, from, target, to, rows, columns, count) => {
	const { sourceStride, targetStride } = columns;
	for (let row = 0; row < rows.size; row++) {
		let s = from + row * rows.sourceStride;
		let t = to + row * rows.targetStride;
		for (let column = 0; column < count; column++) {
			target[t] = bfloat16ToFloat32(source[s] ?? 0);
			s += sourceStride;
			t += targetStride;
		}
	}
};

const narrowToBfloat16: ConvertPlane = (source, from, target, to, rows, columns, count) => {
	const { sourceStride, targetStride } = columns;
	for (let row = 0; row < rows.size; row++) {
		let s = from + row * rows.sourceStride;
		let t = to + row * rows.targetStride;
		for (let column = 0; column < count; column++) {
			target[t] = float32ToBfloat16(source[s] ?? 0);
			s += sourceStride;
			t += targetStride;
		}
	}
};

const narrowToFloat16: ConvertPlane = (source, from, target, to, rows, columns, count) => {
	const { sourceStride, targetStride } = columns;
	for (let row = 0; row < rows.size; row++) {
		let s = from + row * rows.sourceStride;
		let t = to + row * rows.targetStride;
		for (let column = 0; column < count; column++) {
			target[t] = float32ToFloat16(source[s] ?? 0);
			s += sourceStride;
			t += targetStride;
		}
	}
};

/** A kernel that looks every 16-bit pattern up in a table, made when it is first used. */
function tableKernel(from: CastDtype, to: CastDtype): ConvertPlane {
	let table: Uint32Array | undefined;
	return (source, first, target, to0, rows, columns, count) => {
		table ??= Uint32Array.from({ length: 0x10000 }, (_, bits) => converter(from, to)(bits));
		const { sourceStride, targetStride } = columns;
		for (let row = 0; row < rows.size; row++) {
			let s = first + row * rows.sourceStride;
			let t = to0 + row * rows.targetStride;
			for (let column = 0; column < count; column++) {
				target[t] = table[source[s] ?? 0] ?? 0;
				s += sourceStride;
				t += targetStride;
			}
		}
	};
}

const KERNELS: { readonly [pair: string]: ConvertPlane } = {
	"bfloat16-float32": widenBfloat16,
	"bfloat16-float16": tableKernel("bfloat16", "float16"),
	"float16-float32": tableKernel("float16", "float32"),
	"float16-bfloat16": tableKernel("float16", "bfloat16"),
	"float32-bfloat16": narrowToBfloat16,
	"float32-float16": narrowToFloat16,
};
