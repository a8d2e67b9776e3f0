import { crc32 } from "../checksum/crc32.ts";
import { runningSha256 } from "../checksum/sha256.ts";
import { boxNumel } from "../core/box.ts";
import { itemBytes } from "../core/dtype.ts";
import { PAGE_BYTES, pageOffset } from "../core/pages.ts";
import type { LoadedStaging, ReshardOp } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import { pull } from "../plan/pull.ts";
import type { PlanPart } from "../plan/types.ts";
import { directRuns, MIN_RUN_BYTES } from "./direct-runs.ts";
import { locate } from "./locate.ts";
import type { RunState } from "./run-state.ts";
import { isPagedEntry, type StagedTile } from "./staged-tile.ts";
import { addStretch } from "./stretches.ts";
import { hashOfParts } from "./strong-hash.ts";
import { placeIn, windowsOf } from "./windows.ts";

/**
 * Turns a tile's source bytes into target bytes and starts writing them. Gathering and checksums go on while earlier bytes are
 * being written, as far as there are buffers.
 *
 * @throws `scope.signal.reason` when the run failed or was aborted.
 */
export async function writeTile(run: RunState, staged: StagedTile): Promise<void> {
	await using loaded = await run.backend.load(staged.staging);
	for (const part of staged.tile.parts) await writePart(run, { ...staged, loaded }, part);
}

/** A tile whose source bytes the back end has. */
interface LoadedTile extends StagedTile {
	readonly loaded: LoadedStaging;
}

async function writePart(run: RunState, staged: LoadedTile, part: PlanPart): Promise<void> {
	const { plan, places } = run;
	const entry = at(plan.entries, part.entry);
	const { expr } = at(plan.tensors, entry.tensor);
	const start = placeIn(entry.box, part.box) * itemBytes(entry.dtype);
	const output: PartOutput = {
		entry: part.entry,
		start,
		end: start,
		crc32: 0,
		sha256: run.hash === "none" ? undefined : runningSha256(),
		writes: [],
	};
	try {
		const ops = locate(pull(expr, part.box), places, staged.ranges);
		const runs = directRuns(ops);
		if (runs === undefined) await writeGathered(run, staged, { part, ops }, output);
		else {
			for (const { start: from, end } of runs) {
				await writeDirectly(run, staged.staging.subarray(from, end), output);
			}
		}
	} finally {
		staged.writes.push(...output.writes);
	}
	staged.writes.push(run.scope.run(async () => await completePart(run, output)));
}

/** What was made of one part so far: bytes `start` up to but not including `end` of the entry's data. */
interface PartOutput {
	readonly entry: number;
	readonly start: number;
	end: number;
	crc32: number;
	/** `undefined` when none is asked for. */
	readonly sha256: ReturnType<typeof runningSha256> | undefined;
	readonly writes: Promise<boolean>[];
}

/** Writes staging memory as it stands. A buffer is held for its turn only, which bounds the writes in flight. */
async function writeDirectly(run: RunState, bytes: Uint8Array, output: PartOutput): Promise<void> {
	for (let from = 0; from < bytes.length;) {
		const buffer = await run.buffers.acquire();
		const room = buffer.subarray(phaseOf(run, output));
		const piece = bytes.subarray(from, from + room.length);
		from += piece.length;
		startWrite(run, output, inPhase(run, piece, room, output), buffer);
		await run.flusher.pace();
		await run.breathe(piece.length);
	}
}

/**
 * Bytes that lie out of phase with their place are written past the page cache from a copy: that takes less processor time than the
 * page cache does, and leaves no dirty pages.
 */
function inPhase(
	run: RunState,
	piece: Uint8Array,
	room: Uint8Array,
	{ entry, end }: PartOutput,
): Uint8Array {
	const isLong = run.isPaged && piece.length >= MIN_RUN_BYTES && isPagedEntry(run, entry);
	if (!isLong || pageOffset(piece.byteOffset - end) === 0) {
		run.counters.directBytes += piece.length;
		return piece;
	}
	run.counters.copiedBytes += piece.length;
	room.set(piece);
	return room.subarray(0, piece.length);
}

/** Where in a buffer the next bytes go, so that they are congruent to their place. What fills the rest of it ends on a page then. */
function phaseOf(run: RunState, { end }: PartOutput): number {
	return run.isPaged ? pageOffset(end) : 0;
}

/** A part, and what makes all of it. */
interface LocatedPart {
	readonly part: PlanPart;
	readonly ops: readonly ReshardOp[];
}

/** Makes the part in windows that fit into a write buffer. */
async function writeGathered(
	run: RunState,
	{ loaded, ranges }: LoadedTile,
	{ part, ops: wholeOps }: LocatedPart,
	output: PartOutput,
): Promise<void> {
	const { plan, places, buffers, counters } = run;
	const entry = at(plan.entries, part.entry);
	const { expr } = at(plan.tensors, entry.tensor);
	const width = itemBytes(entry.dtype);
	const grid = { whole: entry.box, elements: PAGE_BYTES / width };
	const room = run.isPaged ? run.bufferBytes - PAGE_BYTES : run.bufferBytes;
	for (const window of windowsOf(part.box, Math.floor(room / width), grid)) {
		const ops = window === part.box ? wholeOps : locate(pull(expr, window), places, ranges);
		const buffer = await buffers.acquire();
		const phase = phaseOf(run, output);
		const target = buffer.subarray(phase, phase + boxNumel(window) * width);
		try {
			run.scope.signal.throwIfAborted();
			await loaded.run(ops, target);
		} catch (error) {
			buffers.release(buffer);
			throw error;
		}
		counters.copiedBytes += target.length;
		startWrite(run, output, target, buffer);
		await run.flusher.pace();
		await run.breathe(target.length);
	}
}

/** Appends `bytes` to the output. `buffer` goes back to the pool when they are written. */
function startWrite(
	run: RunState,
	output: PartOutput,
	bytes: Uint8Array,
	buffer: Uint8Array,
): void {
	const { scope, sink, buffers, counters, emit } = run;
	const offset = output.end;
	output.end += bytes.length;
	output.crc32 = crc32(bytes, output.crc32);
	output.sha256?.update(bytes);
	output.writes.push(
		scope.run(async () => {
			try {
				scope.signal.throwIfAborted();
				await sink.write(output.entry, offset, bytes);
			} finally {
				buffers.release(buffer);
			}
			counters.writtenBytes += bytes.length;
			emit({ kind: "written", bytes: counters.writtenBytes });
		}),
	);
}

/** Books a part whose bytes are all written, and finishes the entry when it was the last one. */
async function completePart(run: RunState, output: PartOutput): Promise<void> {
	const written = await Promise.all(output.writes);
	if (written.includes(false)) return;
	const begun = run.begun.get(output.entry) ?? { stretches: [], parts: [] };
	run.begun.set(output.entry, begun);
	addStretch(begun.stretches, output);
	const digest = output.sha256?.digest();
	if (digest !== undefined) begun.parts.push({ end: output.end, digest });
	const [whole] = begun.stretches;
	const entry = at(run.plan.entries, output.entry);
	const dataBytes = boxNumel(entry.box) * itemBytes(entry.dtype);
	if (whole === undefined || whole.end - whole.start < dataBytes) return;
	run.begun.delete(output.entry);
	const strong = run.hash === "none" ? undefined : hashOfParts(begun.parts);
	await run.sink.finish(output.entry, whole.crc32, strong);
	run.counters.entries++;
	run.emit({ kind: "entry", index: output.entry, resumed: false });
}
