import { castRun } from "./cast";
import { copyRuns } from "./copy";
import { tileSize, transposeTile } from "./tile";

/** Bytes of one target row that a block makes: a cache line. */
const LINE: usize = 64;

/** Target rows of a block. All of it is then 16 KiB: it stays in the first cache. */
const BLOCK_ROWS: usize = 256;

/** What {@link castRun} needs; the block follows it. */
const CAST_SCRATCH: usize = 64;

/**
 * Transposes: element `(row, column)` of the target is `rowTarget` and one element apart from its neighbours, the same element of
 * the source one element and `columnSource`. Strides in bytes. `S` and `T` as in `cast.ts`; other types where both are the same.
 *
 * Blocks are put together in scratch memory and copied out by whole lines. Strides are multiples of powers of two, and lines at
 * such distances push one another out of the cache before they are complete. Rows are the outer loop: a block writes where the
 * last one stopped, on pages whose addresses are still known.
 */
export function transposePlane<S, T>(
	target: usize,
	source: usize,
	rows: usize,
	rowTarget: usize,
	columns: usize,
	columnSource: usize,
	scratch: usize,
): void {
	const width = sizeof<S>();
	const blockColumns = LINE / width;
	const block = scratch + CAST_SCRATCH;
	for (let row: usize = 0; row < rows; row += BLOCK_ROWS) {
		const height = min(BLOCK_ROWS, rows - row);
		const t = target + row * rowTarget;
		const s = source + row * width;
		for (let column: usize = 0; column < columns; column += blockColumns) {
			const blockWidth = min(blockColumns, columns - column);
			fillBlock<S>(block, s + column * columnSource, height, blockWidth, columnSource);
			const lines = t + column * sizeof<T>();
			if (sizeof<S>() === sizeof<T>() && isSigned<S>() === isSigned<T>()) {
				copyRuns(lines, block, blockWidth * width, 1, 0, 0, height, rowTarget, LINE);
			} else {
				for (let i: usize = 0; i < height; i++) {
					castRun<S, T>(lines + i * rowTarget, block + i * LINE, blockWidth, scratch);
				}
			}
		}
	}
}

/** Transposes `rows × columns` elements into rows of {@link LINE} bytes. Last tiles overlap those before them. */
function fillBlock<T>(
	block: usize,
	source: usize,
	rows: usize,
	columns: usize,
	columnSource: usize,
): void {
	const width = sizeof<T>();
	const size = tileSize<T>();
	if (rows < size || columns < size) {
		for (let column: usize = 0; column < columns; column++) {
			for (let row: usize = 0; row < rows; row++) {
				const element = load<T>(source + column * columnSource + row * width);
				store<T>(block + row * LINE + column * width, element);
			}
		}
		return;
	}
	for (let column: usize = 0; column < columns; column += size) {
		const left = min(column, columns - size);
		const t = block + left * width;
		const s = source + left * columnSource;
		for (let row: usize = 0; row < rows; row += size) {
			const top = min(row, rows - size);
			transposeTile<T>(t + top * LINE, LINE, s + top * width, columnSource);
		}
	}
}
