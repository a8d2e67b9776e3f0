import { DTYPES } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import { type HeaderContext, invalidHeader, invalidMember } from "./header-error.ts";

/** A tensor as the header has it; offsets count from the start of the data. */
export interface StoredTensor {
	readonly name: string;
	readonly dtype: string;
	readonly shape: Shape;
	readonly begin: number;
	readonly end: number;
}

/** Bits per element of the dtypes that safetensors 0.8 has and {@link DTYPES} has not. */
const SUB_BYTE_BITS: ReadonlyMap<string, number> = new Map([
	["F4", 4],
	["F6_E2M3", 6],
	["F6_E3M2", 6],
]);

/** Bits per element by name in the header: every dtype of safetensors 0.8. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
	...Object.values(DTYPES).map((info) => [info.safetensors, info.itemBytes * 8] as const),
	...SUB_BYTE_BITS,
]);

/** Whether safetensors 0.8 has a dtype of this name, held by us or not. */
export function isStoredDtype(name: string): boolean {
	return DTYPE_BITS.has(name);
}

/**
 * Checks that `tensors`, sorted by offset, lie end to end, and that each has the bytes its dtype and shape need.
 *
 * @throws {HfStreamDcpError} `HEADER_INVALID` when they do not.
 */
export function checkCoverage(
	tensors: readonly StoredTensor[],
	dataBytes: number,
	context: HeaderContext,
): void {
	let previousEnd = 0;
	for (const tensor of tensors) {
		const { name, begin, end } = tensor;
		if (begin !== previousEnd || end < begin) {
			const problem = `it lies at ${begin}:${end} of the data, but must begin at ${previousEnd}`;
			throw invalidMember(context, name, problem);
		}
		const bytes = bytesOf(tensor, context);
		if (bytes !== end - begin) {
			const problem = `its dtype and shape need ${bytes} bytes, but it has ${end - begin}`;
			throw invalidMember(context, name, problem);
		}
		previousEnd = end;
	}
	if (previousEnd !== dataBytes) {
		throw invalidHeader(
			context,
			`its tensors have ${previousEnd} bytes, but the data behind the header has ${dataBytes}`,
			"The file is cut off, or has bytes that belong to no tensor; get it again.",
		);
	}
}

function bytesOf(tensor: StoredTensor, context: HeaderContext): number {
	let bits = 1;
	for (const factor of [...tensor.shape, DTYPE_BITS.get(tensor.dtype) ?? Number.NaN]) {
		bits *= factor;
		if (!Number.isSafeInteger(bits)) {
			const problem = "the size of its shape is too large to count";
			throw invalidMember(context, tensor.name, problem);
		}
	}
	if (bits % 8 !== 0) {
		const problem = "it does not end at a whole byte";
		throw invalidMember(context, tensor.name, problem);
	}
	return bits / 8;
}
