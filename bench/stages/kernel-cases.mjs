// Kernels to measure, as shapes: what `kernel-child.mjs` makes operations of and `torch_kernels.py` views of torch.

const MiB = 2 ** 20;

/**
 * `columns`: rows are cut into `parts` runs of `runBytes`, every part becomes dense: a tensor-parallel cut.
 * `rotary`: heads of interleaved halves, rows of `rowBytes`: what Llama's wq and wk need.
 * `transpose`: a matrix. `cast`: all elements. `copy`: all bytes.
 * `fp8`: `rows × columns` of 8 bits and a scale for each block of 128 × 128; `mxfp4`: experts of `rows × columns` of 4 bits and a scale for
 * each 32 in a row; either as it is or transposed.
 *
 * @typedef {object} KernelCase
 * @property {string} name unique
 * @property {"columns" | "rotary" | "transpose" | "cast" | "copy" | "fp8" | "mxfp4"} kind see above
 * @property {string} from dtype of the source; likewise `to`
 * @property {string} to see `from`
 * @property {number} sourceBytes all of which are read
 * @property {number} [runBytes] of `columns`; likewise `parts`
 * @property {number} [parts] see `runBytes`
 * @property {number} [rowBytes] of `rotary`; likewise `headRows`
 * @property {number} [headRows] see `rowBytes`
 * @property {number} [columns] of `transpose`, `fp8` and `mxfp4`, elements; likewise `rows` of the last two
 * @property {number} [rows] see `columns`
 * @property {boolean} [isTransposed] of `fp8` and `mxfp4`
 */

const ITEM_BYTES = { uint8: 1, float8_e4m3fn: 1, float16: 2, bfloat16: 2, float32: 4 };

/** Bytes of an element. @param {string} dtype */
export function itemBytes(dtype) {
	return ITEM_BYTES[dtype];
}

/** @param {number} sourceBytes of every case @returns {KernelCase[]} */
export function kernelCases(sourceBytes = 32 * MiB) {
	const bf16 = { from: "bfloat16", to: "bfloat16", sourceBytes };
	const cases = [{ name: "copy", kind: "copy", ...bf16 }];
	for (const runBytes of [64, 256, 512, 1024, 2048, 4096, 16384, 65536]) {
		cases.push({ name: `columns of ${runBytes} B`, kind: "columns", runBytes, parts: 4, ...bf16 });
	}
	for (const rowBytes of [256, 8192, 16384]) {
		cases.push({
			name: `rotary rows of ${rowBytes} B`,
			kind: "rotary",
			rowBytes,
			headRows: 128,
			...bf16,
		});
	}
	for (const dtype of ["uint8", "bfloat16", "float32"]) {
		const name = `transpose of ${itemBytes(dtype)}-byte elements`;
		cases.push({ name, kind: "transpose", columns: 2048, ...bf16, from: dtype, to: dtype });
	}
	const casts = [
		["bfloat16", "float32"],
		["float32", "bfloat16"],
		["float16", "float32"],
		["float32", "float16"],
		["float16", "bfloat16"],
		["bfloat16", "float16"],
	];
	for (const [from, to] of casts) {
		cases.push({ name: `cast ${from} → ${to}`, kind: "cast", ...bf16, from, to });
	}
	return [...cases, ...quantisedCases(sourceBytes)];
}

/** Weights of DeepSeek-V3 and of gpt-oss. @param {number} sourceBytes no less than a case reads @returns {KernelCase[]} */
function quantisedCases(sourceBytes) {
	const fp8 = { kind: "fp8", from: "float8_e4m3fn", columns: 7168 };
	const rows = Math.floor(sourceBytes / (128 * fp8.columns)) * 128;
	const mostRows = Math.floor((2 * sourceBytes) / 2880);
	const expert = { kind: "mxfp4", from: "uint8", rows: Math.min(5760, mostRows), columns: 2880 };
	const expertBytes = (expert.rows * expert.columns) / 2;
	const experts = Math.min(2, Math.floor(sourceBytes / expertBytes));
	const weights = {
		FP8: { ...fp8, rows, sourceBytes: rows * fp8.columns },
		MXFP4: { ...expert, sourceBytes: experts * expertBytes },
	};
	return Object.entries(weights).flatMap(([name, weight]) =>
		["bfloat16", "float32", "float16"].flatMap((to) => [
			{ name: `${name} → ${to}`, ...weight, to, isTransposed: false },
			{ name: `${name} → ${to}, transposed`, ...weight, to, isTransposed: true },
		]),
	);
}

const GPU_CASES = [
	"columns of 64 B",
	"columns of 4096 B",
	"rotary rows of 8192 B",
	"transpose of 2-byte elements",
	"transpose of 4-byte elements",
	"cast bfloat16 → float32",
	"cast float32 → bfloat16",
	"cast float16 → bfloat16",
	"FP8 → bfloat16",
	"FP8 → bfloat16, transposed",
	"MXFP4 → bfloat16",
	"MXFP4 → bfloat16, transposed",
];

/** What a GPU is measured with. @param {number} sourceBytes as in {@link kernelCases} @returns {KernelCase[]} */
export function gpuCases(sourceBytes) {
	return kernelCases(sourceBytes).filter(({ name }) => GPU_CASES.includes(name));
}
