import { Buffer } from "node:buffer";
import { DTYPES, type Dtype, itemBytes } from "../../src/core/dtype.ts";
import { numel, type Shape } from "../../src/core/shape.ts";
import { createRandom } from "./random.ts";
import { safetensorsFile } from "./safetensors-cases.ts";

/** A tensor with values that are hard to add up or to print. */
export interface ValueCase {
	readonly name: string;
	readonly dtype: Dtype;
	readonly shape: Shape;
	readonly bytes: Uint8Array;
}

/** How the elements of a case are made; undefined for dtypes that it makes no sense for. */
type Flavour = (dtype: Dtype, count: number) => Uint8Array | undefined;

/** Of random bit patterns, and of values: all is shown of some, the edges of others. */
const SHAPES: readonly Shape[] = [[], [0, 3], [7], [40, 25], [7, 9, 31], [2, 3, 8, 30]];
const VALUE_SHAPES: readonly Shape[] = [[], [3, 4, 5], [7, 9, 31]];

function bits(dtype: Dtype, count: number): Uint8Array {
	const random = createRandom(count + dtype.length * 131 + dtype.charCodeAt(dtype.length - 1));
	const most = dtype === "bool" ? 2 : 256;
	return Uint8Array.from({ length: count * itemBytes(dtype) }, () => random.below(most));
}

/** Elements from float32 values: bfloat16 by cutting off, so that no rounding of ours is needed. */
function floats(value: (i: number, fraction: () => number) => number): Flavour {
	return (dtype, count) => {
		const random = createRandom(count * 7 + 3);
		const values = Array.from({ length: count }, (_, i) => value(i, () => random.fraction()));
		if (dtype === "float64") return new Uint8Array(Float64Array.from(values).buffer);
		const narrow = new Uint32Array(Float32Array.from(values).buffer);
		if (dtype === "float32") return new Uint8Array(narrow.buffer);
		if (dtype !== "bfloat16") return undefined;
		return new Uint8Array(Uint16Array.from(narrow, (word) => word >>> 16).buffer);
	};
}

function normal(fraction: () => number): number {
	return Math.sqrt(-2 * Math.log(1 - fraction())) * Math.cos(2 * Math.PI * fraction());
}

const SPECIALS = [0, -0, Number.NaN, Infinity, -Infinity, 1e-40, -1e-45, 1, 2 ** -5, 3 * 2 ** -5];

const FLAVOURS: { readonly [name: string]: Flavour } = {
	bits,
	zeros: (dtype, count) => new Uint8Array(count * itemBytes(dtype)),
	weights: floats((_, fraction) => normal(fraction) * 0.02),
	wide: floats((_, fraction) => normal(fraction)),
	whole: floats((i) => (i % 2 === 0 ? i : -i) % 40),
	offset: floats((_, fraction) => 30_000 + normal(fraction)),
	ties: floats((i) => ((i % 19) - 9) / 32),
	special: floats((i) => SPECIALS[i % SPECIALS.length] ?? 0),
	nan: floats(() => Number.NaN),
	infinite: floats((i) => (i % 3 === 0 ? -Infinity : Infinity)),
	huge: floats((i, fraction) => normal(fraction) * (i % 2 === 0 ? 1e37 : 1e-37)),
};

/** Every dtype, many shapes, random bit patterns and what is special. Named `dtype/flavour/shape`. */
export function valueCases(): ValueCase[] {
	const dtypes = Object.keys(DTYPES) as Dtype[];
	const cases = dtypes.flatMap((dtype) =>
		Object.entries(FLAVOURS).flatMap(([flavour, make]) =>
			(flavour === "bits" ? SHAPES : VALUE_SHAPES).flatMap((shape): ValueCase[] => {
				const bytes = make(dtype, numel(shape));
				const name = `${dtype}/${flavour}/${shape.join("x")}`;
				return bytes === undefined ? [] : [{ name, dtype, shape, bytes }];
			}),
		),
	);
	const all = dtypes
		.filter((dtype) => itemBytes(dtype) <= 2 && dtype !== "bool")
		.map((dtype): ValueCase => {
			const shape = itemBytes(dtype) === 1 ? [16, 16] : [256, 256];
			const codes = Array.from({ length: numel(shape) }, (_, code) => code);
			const array = itemBytes(dtype) === 1 ? Uint8Array.from(codes) : Uint16Array.from(codes);
			return { name: `${dtype}/all`, dtype, shape, bytes: new Uint8Array(array.buffer) };
		});
	return [...cases, ...all];
}

/** A safetensors file of tensors. */
export function safetensorsOf(cases: readonly ValueCase[]): Uint8Array {
	let end = 0;
	const members = cases.map(({ name, dtype, shape, bytes }) => {
		const begin = end;
		end += bytes.length;
		return [name, { dtype: DTYPES[dtype].safetensors, shape, data_offsets: [begin, end] }];
	});
	const header = JSON.stringify(Object.fromEntries(members));
	return safetensorsFile(header, Buffer.concat(cases.map(({ bytes }) => bytes)));
}
