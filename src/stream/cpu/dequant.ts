import { itemBytes } from "../../core/dtype.ts";
import type { DequantDim, DequantOp } from "../../core/ports.ts";
import { ELEMENT_BITS, SCALE_BYTES } from "../../core/quantisation.ts";
import { commonUnit, type Elements, leadOf, viewAs } from "./elements.ts";
import { type ProductTable, productTables } from "./products.ts";

const ONCE: DequantDim = { size: 1, sourceStride: 0, targetStride: 0, scaleStride: 0 };

/** Makes the target elements of a dequantising op: each is looked up among the products of its scale with every code there is. */
export function dequant(op: DequantOp, staging: Uint8Array, target: Uint8Array): void {
	const { piece } = op;
	const perByte = 8 / ELEMENT_BITS[piece.codec];
	const scaleBytes = SCALE_BYTES[piece.scaleCodec];
	const width = itemBytes(piece.targetDtype);
	const start = leadOf(target) + piece.targetOffset * width;
	// Elements that lie off their alignment are written as several smaller units.
	const unit = commonUnit(width, start);
	const units = width / unit;
	const into = viewAs(target, unit);
	const source = staging.subarray(op.stagingOffset);
	const tableOf = productTables(piece);
	const lookUp = perByte === 2 ? lookUpHalves : lookUpBytes;
	const dims = piece.dims.map((dim) => ({ ...dim, targetStride: dim.targetStride * units }));
	// The loops that leave the scale as it is run inside of those that do not: a table serves them all.
	const shared = dims.filter((dim) => dim.scaleStride === 0);
	const plane = { rows: shared.at(-2) ?? ONCE, columns: shared.at(-1) ?? ONCE };
	const changing = dims.filter((dim) => dim.scaleStride !== 0);
	forEachIndex(changing, piece.sourceOffset % perByte, 0, start / unit, (s, scale, t) => {
		const at = op.scaleStagingOffset + scale * scaleBytes;
		const table = tableOf(littleEndian(staging, at, scaleBytes));
		forEachIndex(shared.slice(0, -2), s, 0, t, (from, _, to) => {
			for (let lane = 0; lane < units; lane++) {
				lookUp(source, from, into, to + lane, plane, table, lane * unit * 8);
			}
		});
	});
}

/** Calls `visit` with what every index of `dims` moves the three places to. */
function forEachIndex(
	dims: readonly DequantDim[],
	source: number,
	scale: number,
	target: number,
	visit: (source: number, scale: number, target: number) => void,
): void {
	const [dim, ...inner] = dims;
	if (dim === undefined) {
		visit(source, scale, target);
		return;
	}
	for (let i = 0; i < dim.size; i++) {
		const s = source + i * dim.sourceStride;
		forEachIndex(inner, s, scale + i * dim.scaleStride, target + i * dim.targetStride, visit);
	}
}

function littleEndian(bytes: Uint8Array, at: number, width: number): number {
	let number = 0;
	for (let i = width - 1; i >= 0; i--) number = number * 256 + (bytes[at + i] ?? 0);
	return number;
}

/**
 * Writes a plane of elements under one scale. `from` counts elements, `to` units of the target; of each product the unit that `shift`
 * bits lie below.
 */
type LookUp = (
	source: Uint8Array,
	from: number,
	target: Elements,
	to: number,
	plane: { readonly rows: DequantDim; readonly columns: DequantDim },
	table: ProductTable,
	shift: number,
) => void;

const lookUpBytes: LookUp = (source, from, target, to, { rows, columns }, table, shift) => {
	for (let row = 0; row < rows.size; row++) {
		let s = from + row * rows.sourceStride;
		let t = to + row * rows.targetStride;
		for (let column = 0; column < columns.size; column++) {
			target[t] = (table[source[s] ?? 0] ?? 0) >>> shift;
			s += columns.sourceStride;
			t += columns.targetStride;
		}
	}
};

const lookUpHalves: LookUp = (source, from, target, to, { rows, columns }, table, shift) => {
	for (let row = 0; row < rows.size; row++) {
		let s = from + row * rows.sourceStride;
		let t = to + row * rows.targetStride;
		for (let column = 0; column < columns.size; column++) {
			const code = ((source[s >>> 1] ?? 0) >>> ((s & 1) * 4)) & 15;
			target[t] = (table[code] ?? 0) >>> shift;
			s += columns.sourceStride;
			t += columns.targetStride;
		}
	}
};
