import { type Dtype, itemBytes } from "../../core/dtype.ts";
import type { DequantDim, PieceDim, ReshardOp } from "../../core/ports.ts";
import type { DequantDtype, ElementCodec, ScaleCodec } from "../../core/quantisation.ts";
import type { KernelName } from "./job-table.ts";
import { targetBytesOf } from "./op-spans.ts";

/** Work for one kernel, and the digest of what must come out. */
export interface AnswerCase {
	readonly kernel: KernelName;
	readonly ops: readonly ReshardOp[];
	readonly targetBytes: number;
	readonly sha256: string;
}

/** Bytes that any case reads or writes at most. */
export const SELF_TEST_BYTES: number = 64 * 1024;

/** Source bytes of all cases: every byte value, in no order, at every place; as floating-point numbers of every kind. */
export function stagingBytes(): Uint8Array {
	const bytes = new Uint8Array(SELF_TEST_BYTES);
	let state = 0x9e3779b9;
	for (let i = 0; i < bytes.length; i++) {
		// An LCG, of which the upper bits are good.
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		bytes[i] = state >>> 24;
	}
	return bytes;
}

/** Scales and elements of dequantising cases do not overlap. */
const SCALES = 48 * 1024;

function dim(size: number, sourceStride: number, targetStride: number): PieceDim {
	return { size, sourceStride, targetStride };
}

/** A piece of rows of odd length, out of wider ones, the rows in another order, at an odd place: `rows × 3 × columns`. */
function gatherOp(
	from: Dtype,
	to: Dtype,
	target: number,
	[rows, columns]: [number, number],
): ReshardOp {
	const dims = [
		dim(3, columns + 2, rows * columns),
		dim(rows, 3 * (columns + 2), columns),
		dim(columns, 1, 1),
	];
	const piece = {
		kind: "gather",
		source: "w",
		sourceDtype: from,
		targetDtype: to,
		sourceOffset: 5,
		targetOffset: target,
		dims,
	} as const;
	return { piece, stagingOffset: 5 * itemBytes(from) + 3 };
}

/** A transpose of `rows × columns`, the target's innermost loop being the source's outermost. */
function transposeOp(dtype: Dtype, target: number, [rows, columns]: [number, number]): ReshardOp {
	const dims = [dim(columns, 1, rows), dim(rows, columns, 1)];
	const piece = {
		kind: "gather",
		source: "w",
		sourceDtype: dtype,
		targetDtype: dtype,
		sourceOffset: 0,
		targetOffset: target,
		dims,
	} as const;
	return { piece, stagingOffset: 1 };
}

/** A run of elements, several to a scale. */
function dequantOp(
	codec: ElementCodec,
	scaleCodec: ScaleCodec,
	targetDtype: DequantDtype,
	target: number,
): ReshardOp {
	const dims: DequantDim[] = [
		{ size: 61, sourceStride: 9, targetStride: 9, scaleStride: 1 },
		{ size: 9, sourceStride: 1, targetStride: 1, scaleStride: 0 },
	];
	const piece = {
		kind: "dequant",
		source: "w",
		codec,
		scales: "s",
		scaleCodec,
		targetDtype,
		sourceOffset: 1,
		scaleOffset: 0,
		targetOffset: target,
		dims,
	} as const;
	return { piece, stagingOffset: 7, scaleStagingOffset: SCALES + 1 };
}

const CODECS: readonly ElementCodec[] = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1"];
const SCALE_CODECS: readonly ScaleCodec[] = [
	"float32",
	"bfloat16",
	"float16",
	"float8_e8m0fnu",
	"power_of_two",
];

type MakeOp = (targetBytes: number) => ReshardOp;

/** Rows and columns of a piece: odd, and more than a workgroup's worth. */
const ROWS: [number, number] = [31, 21];
const SQUARE: [number, number] = [37, 29];

function gathers(from: Dtype, to: Dtype): MakeOp {
	return (bytes) => gatherOp(from, to, bytes / itemBytes(to), ROWS);
}

function transposes(dtype: Dtype): MakeOp {
	return (bytes) => transposeOp(dtype, bytes / itemBytes(dtype), SQUARE);
}

function dequants(targets: readonly DequantDtype[]): MakeOp[] {
	return targets.flatMap((to) =>
		CODECS.flatMap((codec) =>
			SCALE_CODECS.map<MakeOp>(
				(scaleCodec) => (bytes) => dequantOp(codec, scaleCodec, to, bytes / itemBytes(to)),
			),
		),
	);
}

/** Puts pieces one behind the other. */
function answer(kernel: KernelName, sha256: string, makers: readonly MakeOp[]): AnswerCase {
	let targetBytes = 0;
	const ops = makers.map((make) => {
		const op = make(targetBytes);
		targetBytes += targetBytesOf(op);
		return op;
	});
	return { kernel, ops, targetBytes, sha256 };
}

/**
 * A case for each kernel: all formats that it knows, and places of every kind. The digests are those of an independent, slow
 * implementation of what pieces mean.
 */
export const ANSWER_CASES: readonly AnswerCase[] = [
	answer("move8", "7155858c148c776c6d1e08a95a200be86c2216b016b79f030f2545e310d1fcff", [
		gathers("uint8", "uint8"),
		transposes("uint8"),
	]),
	answer("move16", "9997d1418c105bb6f514754c8fd0de510742f2bd314bab2e05f8488c393ab5e0", [
		gathers("bfloat16", "bfloat16"),
		transposes("bfloat16"),
	]),
	answer("move32", "2c080045df1ca201147d82c091233ac114dc643f78ca34b8e55b66cff5e9ac28", [
		transposes("int64"),
		gathers("float32", "float32"),
		transposes("float32"),
	]),
	answer("cast16", "8281e0754e4865b08ee493406377efeef5c8bbde8bd9c6672c46f6da7c687705", [
		gathers("float32", "bfloat16"),
		gathers("float32", "float16"),
		gathers("bfloat16", "float16"),
		gathers("float16", "bfloat16"),
	]),
	answer("cast32", "8a59350889f04152b17b0c2e88c1d109bbcbee1c1fa0a0311293d9071cbf7fbd", [
		gathers("bfloat16", "float32"),
		gathers("float16", "float32"),
	]),
	answer(
		"dequant16",
		"bdee0ae282b7fa4856834408912dc718fdd9788a19e49047a832aa9fb8ecc4b8",
		dequants(["bfloat16", "float16"]),
	),
	answer(
		"dequant32",
		"a9efbe1e4819f9c7f8dc607b639ec2ab21f77c0b2e31ad9b3041ffde8ba1e73f",
		dequants(["float32"]),
	),
];
