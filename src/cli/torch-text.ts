import type { Dtype, ElementValue, ShownElements } from "../index.ts";
import { pythonExponential, pythonFixed } from "./python-numbers.ts";

/** How tensors are printed; the defaults are those of `torch.set_printoptions`. */
export interface TorchTextOptions {
	/** Digits after the point. @default 4 */
	readonly precision?: number | undefined;
	/** Characters of a line. @default 80 */
	readonly width?: number | undefined;
}

/** How all numbers of a tensor are written, one as wide as the other. */
interface NumberFormat {
	readonly width: number;
	/** Not padded. */
	format(value: ElementValue): string;
}

const PREFIX = "tensor(";

/** Dtypes that go without saying. */
const DEFAULT_DTYPES: ReadonlySet<Dtype> = new Set(["float32", "complex64", "int64", "bool"]);

/**
 * The text that `print(tensor)` of torch gives, with its choice of digits, widths and lines.
 *
 * @see torch 2.13 `torch/_tensor_str.py`, whose output this equals
 */
export function torchText(
	dtype: Dtype,
	shown: ShownElements,
	{ precision = 4, width = 80 }: TorchTextOptions = {},
): string {
	const isEmpty = shown.shape.includes(0);
	const suffixes: string[] = [];
	if (isEmpty && shown.shape.length !== 1) suffixes.push(`size=${pythonTuple(shown.shape)}`);
	if (isEmpty ? dtype !== "float32" : !DEFAULT_DTYPES.has(dtype)) {
		suffixes.push(`dtype=torch.${dtype}`);
	}
	const body = isEmpty ? "[]" : bodyText(dtype, shown, precision, width);
	return withSuffixes(`${PREFIX}${body}`, suffixes, width);
}

function pythonTuple(sizes: readonly number[]): string {
	return sizes.length === 1 ? `(${sizes[0]},)` : `(${sizes.join(", ")})`;
}

function withSuffixes(text: string, suffixes: readonly string[], width: number): string {
	let result = text;
	let lineLength = text.length - text.lastIndexOf("\n") + 1;
	for (const suffix of suffixes) {
		if (lineLength + suffix.length + 2 > width) {
			result += `,\n${" ".repeat(PREFIX.length)}${suffix}`;
			lineLength = PREFIX.length + suffix.length;
		} else {
			result += `, ${suffix}`;
			lineLength += suffix.length + 2;
		}
	}
	return `${result})`;
}

function bodyText(dtype: Dtype, shown: ShownElements, precision: number, width: number): string {
	const element = elementFormat(dtype, shown.values, precision);
	const counts = shown.indices.map(({ length }) => length);
	/** Text of the block of `axis` and all after it, whose first value is number `first`. */
	const block = (axis: number, first: number, indent: number): string => {
		const count = counts[axis];
		if (count === undefined) return element.format(at(shown.values, first));
		const inner = counts.slice(axis + 1).reduce((product, size) => product * size, 1);
		const isLast = axis === counts.length - 1;
		const parts = Array.from({ length: count }, (_, i) =>
			block(axis + 1, first + i * inner, indent + 1),
		);
		const isCut = count < (shown.shape[axis] ?? 0);
		if (isCut) parts.splice(count / 2, 0, isLast ? " ..." : "...");
		const start = " ".repeat(indent + 1);
		if (!isLast) {
			return `[${parts.join(`,${"\n".repeat(counts.length - axis - 1)}${start}`)}]`;
		}
		const perLine = Math.max(1, Math.floor((width - indent) / (element.width + 2)));
		const lines: string[] = [];
		for (let i = 0; i < parts.length; i += perLine) {
			lines.push(parts.slice(i, i + perLine).join(", "));
		}
		return `[${lines.join(`,\n${start}`)}]`;
	};
	return block(0, 0, PREFIX.length);
}

/** As {@link NumberFormat}, of elements of any kind, padded. */
function elementFormat(
	dtype: Dtype,
	values: readonly ElementValue[],
	precision: number,
): NumberFormat {
	if (dtype === "complex64") return complexFormat(values, precision);
	const isFloat = dtype.startsWith("float") || dtype === "bfloat16";
	const own = isFloat ? floatFormat(values, precision) : plainFormat(values);
	return { width: own.width, format: (value) => own.format(value).padStart(own.width) };
}

function plainFormat(values: readonly ElementValue[]): NumberFormat {
	return { width: widest(values.map(plainText)), format: plainText };
}

function plainText(value: ElementValue): string {
	if (typeof value === "boolean") return value ? "True" : "False";
	return typeof value === "object" ? "" : String(value);
}

function floatFormat(values: readonly ElementValue[], precision: number): NumberFormat {
	const numbers = values.map(Number).filter((value) => Number.isFinite(value) && value !== 0);
	if (numbers.length === 0) {
		const text = (value: ElementValue): string => wholeText(Number(value));
		return { width: 1, format: text };
	}
	const magnitudes = numbers.map(Math.abs);
	const smallest = magnitudes.reduce((a, b) => Math.min(a, b));
	const largest = magnitudes.reduce((a, b) => Math.max(a, b));
	const isWhole = numbers.every(Number.isInteger);
	const isScientific = largest / smallest > 1000 || largest > 1e8 || smallest < 1e-4;
	const text = isScientific
		? (value: ElementValue): string => pythonExponential(Number(value), precision)
		: isWhole
			? (value: ElementValue): string => wholeText(Number(value))
			: (value: ElementValue): string => pythonFixed(Number(value), precision);
	return { width: widest(numbers.map(text)), format: text };
}

/** `3.`: a point tells floats from integers. */
function wholeText(value: number): string {
	return `${pythonFixed(value, 0)}${Number.isFinite(value) ? "." : ""}`;
}

function complexFormat(values: readonly ElementValue[], precision: number): NumberFormat {
	const parts = values.map((value) => (typeof value === "object" ? value : { re: 0, im: 0 }));
	const re = floatFormat(
		parts.map((part) => part.re),
		precision,
	);
	const im = floatFormat(
		parts.map((part) => part.im),
		precision,
	);
	return {
		width: re.width + im.width + 1,
		format(value) {
			if (typeof value !== "object") return "";
			const imaginary = im.format(value.im);
			const sign = /^[+-]/.test(imaginary) ? "" : "+";
			return `${re.format(value.re).padStart(re.width)}${sign}${imaginary}j`;
		},
	};
}

function widest(texts: readonly string[]): number {
	return texts.reduce((width, text) => Math.max(width, text.length), 1);
}

function at<T>(list: readonly T[], index: number): T {
	const value = list[index];
	if (value === undefined) throw new RangeError(`index ${index} outside a list of ${list.length}`);
	return value;
}
