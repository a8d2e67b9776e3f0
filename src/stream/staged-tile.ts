import { boxNumel } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import { PAGED_FROM_BYTES, pageOffset } from "../core/pages.ts";
import { at } from "../core/shape.ts";
import { pull } from "../plan/pull.ts";
import type { PlanPart, PlanRange } from "../plan/types.ts";
import { contiguousBytes, MIN_RUN_BYTES } from "./direct-runs.ts";
import type { LiveTile } from "./live-tile.ts";
import { layOut, rangeIndexAt, type StagedRange } from "./locate.ts";
import type { RunState } from "./run-state.ts";
import { placeIn } from "./windows.ts";

/** A tile and the memory its source bytes are received into. */
export interface StagedTile {
	readonly tile: LiveTile;
	readonly staging: Uint8Array;
	/** Where in `staging` each of the tile's ranges goes. */
	readonly ranges: readonly StagedRange[];
	/** Grows with every write that is started. None rejects; `staging` is free again when all have settled. */
	readonly writes: Promise<boolean>[];
}

/**
 * Lays a tile out in `staging`, which holds `tile.stagingBytes`. Where the sink writes past the page cache, a large range begins
 * where most of what is written from it as it stands is congruent to its place in the file.
 */
export function stageTile(run: RunState, tile: LiveTile, staging: Uint8Array): StagedTile {
	const phases = run.isPaged ? phasesOf(run, tile, staging.byteOffset) : [];
	return { tile, staging, ranges: layOut(tile.ranges, phases), writes: [] };
}

/** Whether the data of an entry begins on a page of its file. */
export function isPagedEntry(run: RunState, index: number): boolean {
	const { box, dtype } = at(run.plan.entries, index);
	return boxNumel(box) * itemBytes(dtype) >= PAGED_FROM_BYTES;
}

/** For each range the offset, modulo the page, at which most bytes of its direct runs are in phase; `undefined` for small ranges. */
function phasesOf(run: RunState, tile: LiveTile, stagingAddress: number): (number | undefined)[] {
	const votes = tile.ranges.map(() => new Map<number, number>());
	for (const part of tile.parts) {
		if (!isPagedEntry(run, part.entry)) continue;
		for (const direct of directSources(run, part)) {
			const index = rangeIndexAt(tile.ranges, direct.file, direct.start);
			const { start } = at(tile.ranges, index);
			// The address that byte `direct.start` should have, less its distance from the start of the range and of the memory.
			const phase = pageOffset(direct.dataOffset - (direct.start - start) - stagingAddress);
			const counts = at(votes, index);
			counts.set(phase, (counts.get(phase) ?? 0) + direct.end - direct.start);
		}
	}
	return tile.ranges.map(({ start, end }, index) =>
		end - start < PAGED_FROM_BYTES ? undefined : mostVoted(at(votes, index)),
	);
}

function mostVoted(votes: ReadonlyMap<number, number>): number | undefined {
	let most = 0;
	let chosen: number | undefined;
	for (const [phase, bytes] of votes) {
		if (bytes <= most) continue;
		most = bytes;
		chosen = phase;
	}
	return chosen;
}

/** Source bytes that are target bytes as they stand, and the offset of their first in the entry's data. */
interface DirectSource extends PlanRange {
	readonly dataOffset: number;
}

function directSources(run: RunState, part: PlanPart): DirectSource[] {
	const { plan, places } = run;
	const entry = at(plan.entries, part.entry);
	const { expr } = at(plan.tensors, entry.tensor);
	const width = itemBytes(entry.dtype);
	const first = placeIn(entry.box, part.box);
	return pull(expr, part.box).flatMap((piece) => {
		const bytes = contiguousBytes(piece);
		if (piece.kind !== "gather" || bytes === undefined || bytes < MIN_RUN_BYTES) return [];
		const place = places.get(piece.source);
		if (place === undefined) return [];
		const start = place.begin + piece.sourceOffset * width;
		const dataOffset = (first + piece.targetOffset) * width;
		return [{ file: place.file, start, end: start + bytes, dataOffset }];
	});
}
