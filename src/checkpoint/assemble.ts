import { type Box, formatBox } from "../core/box.ts";
import { concat, type Expr } from "../core/expr.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import { at } from "../core/shape.ts";

/** A block of a tensor and the expression of its elements, of the shape of the block. */
export interface Block {
	readonly box: Box;
	readonly expr: Expr;
}

/**
 * The tensor that blocks make together, as nested concatenations: a mesh cuts tensors straight through, one axis after the other, and so
 * they can be put together again.
 *
 * @param what - The tensor, for messages.
 * @param blocks - At least one; they cover a box without overlap.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` when they overlap, leave holes, or lie like the arms of a pinwheel, which no mesh does.
 */
export function assemble(what: string, blocks: readonly Block[]): Expr {
	const [first] = blocks;
	if (blocks.length === 1 && first !== undefined) return first.expr;
	const axes = first?.box.size.length ?? 0;
	for (let axis = 0; axis < axes; axis++) {
		const groups = cutAlong(blocks, axis);
		if (groups.length < 2) continue;
		const parts = groups.map((group) => assemble(what, group));
		try {
			return concat(parts, axis);
		} catch {
			break;
		}
	}
	const boxes = blocks.slice(0, 4).map(({ box }) => formatBox(box));
	throw new HfStreamDcpError(
		"CHECKPOINT_CORRUPT",
		`the chunks of ${what} cannot be put together: ${boxes.join(", ")}${blocks.length > 4 ? ", …" : ""}`,
		{
			hint: "Chunks must cover the tensor without holes or overlaps. `hf-stream-dcp verify` says what is wrong.",
			facts: { tensor: what },
		},
	);
}

/** Groups of blocks that straight cuts across `axis` separate, in order; no two neighbours have a gap between them. */
function cutAlong(blocks: readonly Block[], axis: number): Block[][] {
	const sorted = blocks.toSorted((a, b) => at(a.box.offset, axis) - at(b.box.offset, axis));
	const groups: Block[][] = [];
	let end = -1;
	for (const block of sorted) {
		const start = at(block.box.offset, axis);
		const last = groups.at(-1);
		if (last === undefined || start === end) groups.push([block]);
		else if (start < end) last.push(block);
		else return [];
		end = Math.max(end, start + at(block.box.size, axis));
	}
	return groups;
}
