import type { Box } from "../../src/core/box.ts";
import { type Dtype, itemBytes } from "../../src/core/dtype.ts";
import type { DequantExpr, Expr } from "../../src/core/expr.ts";
import { SCALE_BYTES } from "../../src/core/quantisation.ts";
import { codeAt, elementValue, scaleValue } from "./slow-quantised.ts";

/** Supplies all bytes of one source tensor, row-major, little-endian. */
export type ReadSource = (name: string) => Uint8Array;

/**
 * The bytes of an expression's value, computed node by node as the definitions read, every intermediate tensor in full. The
 * oracle of everything that computes the same in fewer steps; shares no code with it.
 */
export function evaluateExpr(expr: Expr, read: ReadSource): Uint8Array {
	const width = itemBytes(expr.dtype);
	switch (expr.kind) {
		case "source": {
			const bytes = read(expr.name);
			if (bytes.length !== product(expr.shape) * width) {
				throw new Error(
					`${expr.name}: ${bytes.length} bytes for a shape of [${expr.shape.join(", ")}]`,
				);
			}
			return bytes;
		}
		case "fill":
			return encode(
				Array.from({ length: product(expr.shape) }, () => expr.value),
				expr.dtype,
			);
		case "cast":
			return encode(decode(evaluateExpr(expr.of, read), expr.of.dtype), expr.dtype);
		case "reshape":
			return evaluateExpr(expr.of, read);
		case "slice": {
			const offset = expr.of.shape.map((_, d) => (d === expr.axis ? expr.start : 0));
			return takeBox(evaluateExpr(expr.of, read), expr.of.shape, expr.dtype, {
				offset,
				size: expr.shape,
			});
		}
		case "permute":
			return permuted(evaluateExpr(expr.of, read), expr.of.shape, expr.axes, width);
		case "concat":
			return joined(
				expr.parts.map((part) => evaluateExpr(part, read)),
				product(expr.shape.slice(0, expr.axis)),
			);
		case "stack":
			return joined(
				expr.parts.map((part) => evaluateExpr(part, read)),
				product(expr.shape.slice(0, expr.axis)),
			);
		case "dequant":
			return encode(dequantised(expr, read), expr.dtype);
	}
}

/** Every element times the scale of its block, as a float32. */
function dequantised(expr: DequantExpr, read: ReadSource): number[] {
	const codes = evaluateExpr(expr.weight, read);
	const scales = evaluateExpr(expr.scales, read);
	const width = SCALE_BYTES[expr.scaleCodec];
	const index = expr.shape.map(() => 0);
	return Array.from({ length: product(expr.shape) }, (_, i) => {
		let place = 0;
		for (const [d, blocks] of expr.scales.shape.entries()) {
			place = place * blocks + Math.floor(index[d]! / expr.block[d]!);
		}
		advance(index, expr.shape, expr.shape.length - 1);
		const scale = scaleValue(scales.subarray(place * width, (place + 1) * width), expr.scaleCodec);
		return Math.fround(elementValue(codeAt(codes, i, expr.codec), expr.codec) * scale);
	});
}

/** The bytes of one box of a dense row-major tensor. */
export function takeBox(
	bytes: Uint8Array,
	shape: readonly number[],
	dtype: Dtype,
	box: Box,
): Uint8Array {
	const width = itemBytes(dtype);
	const out = new Uint8Array(product(box.size) * width);
	if (out.length === 0) return out;
	const rowBytes = (box.size.at(-1) ?? 1) * width;
	const index = box.size.map(() => 0);
	for (let to = 0; to < out.length; to += rowBytes) {
		let from = 0;
		for (const [d, size] of shape.entries()) from = from * size + box.offset[d]! + index[d]!;
		out.set(bytes.subarray(from * width, from * width + rowBytes), to);
		advance(index, box.size, box.size.length - 2);
	}
	return out;
}

/** Moves `index` on to the next in row-major order, counting only axes up to `last`. */
function advance(index: number[], size: readonly number[], last: number): void {
	for (let d = last; d >= 0; d--) {
		index[d]!++;
		if (index[d]! < size[d]!) return;
		index[d] = 0;
	}
}

function permuted(
	bytes: Uint8Array,
	shape: readonly number[],
	axes: readonly number[],
	width: number,
): Uint8Array {
	const strides = shape.map((_, d) => product(shape.slice(d + 1)));
	const size = axes.map((axis) => shape[axis]!);
	const steps = axes.map((axis) => strides[axis]!);
	const out = new Uint8Array(bytes.length);
	const index = size.map(() => 0);
	for (let to = 0; to < out.length; to += width) {
		let from = 0;
		for (let d = 0; d < index.length; d++) from += index[d]! * steps[d]!;
		for (let b = 0; b < width; b++) out[to + b] = bytes[from * width + b]!;
		advance(index, size, size.length - 1);
	}
	return out;
}

/** For each of `outer` outermost indices: the part of every operand, one after the other. */
function joined(parts: readonly Uint8Array[], outer: number): Uint8Array {
	const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let to = 0;
	for (let i = 0; i < outer; i++) {
		for (const part of parts) {
			const length = part.length / outer;
			out.set(part.subarray(i * length, (i + 1) * length), to);
			to += length;
		}
	}
	return out;
}

function product(shape: readonly number[]): number {
	return shape.reduce((total, size) => total * size, 1);
}

/** Mantissa bits, exponent bias and width of the floats that are cast. */
const FLOATS: { readonly [dtype: string]: readonly [mantissa: number, bias: number] } = {
	float32: [23, 127],
	float16: [10, 15],
	bfloat16: [7, 127],
};

function decode(bytes: Uint8Array, dtype: Dtype): number[] {
	const [mantissaBits, bias] = FLOATS[dtype]!;
	const width = itemBytes(dtype);
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const infinite = 2 * bias + 1;
	return Array.from({ length: bytes.length / width }, (_, i) => {
		const bits = width === 4 ? view.getUint32(4 * i, true) : view.getUint16(2 * i, true);
		const fraction = bits % 2 ** mantissaBits;
		const exponent = Math.floor(bits / 2 ** mantissaBits) % (infinite + 1);
		const sign = bits >= 2 ** (8 * width - 1) ? -1 : 1;
		if (exponent === infinite) return fraction === 0 ? sign * Infinity : Number.NaN;
		if (exponent === 0) return sign * fraction * 2 ** (1 - bias - mantissaBits);
		return sign * (1 + fraction / 2 ** mantissaBits) * 2 ** (exponent - bias);
	});
}

function encode(values: readonly number[], dtype: Dtype): Uint8Array {
	const [mantissaBits, bias] = FLOATS[dtype]!;
	const width = itemBytes(dtype);
	const bytes = new Uint8Array(values.length * width);
	const view = new DataView(bytes.buffer);
	for (const [i, value] of values.entries()) {
		const bits = encodeOne(value, mantissaBits, bias, 8 * width);
		if (width === 4) view.setUint32(4 * i, bits, true);
		else view.setUint16(2 * i, bits, true);
	}
	return bytes;
}

/** The bits of `value` rounded to nearest, ties to even. */
function encodeOne(value: number, mantissaBits: number, bias: number, width: number): number {
	const infinite = (2 * bias + 1) * 2 ** mantissaBits;
	if (Number.isNaN(value)) return infinite + 2 ** (mantissaBits - 1);
	const sign = value < 0 || Object.is(value, -0) ? 2 ** (width - 1) : 0;
	const size = Math.abs(value);
	if (size === 0) return sign;
	if (size === Infinity) return sign + infinite;
	let exponent = Math.floor(Math.log2(size));
	if (2 ** exponent > size) exponent--;
	if (2 ** (exponent + 1) <= size) exponent++;
	exponent = Math.max(exponent, 1 - bias);
	const steps = roundHalfEven(size / 2 ** (exponent - mantissaBits));
	// A mantissa of 2^(bits + 1) is the next power of two; the sum carries it into the exponent, and beyond the largest into
	// infinity. Below 2^bits the number is subnormal and the exponent field 0.
	const bits = (exponent + bias - 1) * 2 ** mantissaBits + steps;
	return sign + Math.min(bits, infinite);
}

function roundHalfEven(value: number): number {
	const floor = Math.floor(value);
	const rest = value - floor;
	if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
	return floor % 2 === 0 ? floor : floor + 1;
}
