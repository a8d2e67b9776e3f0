import { invariant } from "../core/errors.ts";
import { crc32Combine } from "./crc32-combine.ts";

/** Bytes `start` up to but not including `end` of an entry's data that are written, and their CRC-32. */
export interface Stretch {
	readonly start: number;
	readonly end: number;
	readonly crc32: number;
}

/**
 * Adds a stretch to those of the same entry and joins neighbours, so that the list stays as short as the gaps in it are few.
 *
 * @param stretches - Sorted, disjoint; changed in place.
 */
export function addStretch(stretches: Stretch[], added: Stretch): void {
	const after = stretches.findIndex((stretch) => stretch.start >= added.end);
	const index = after < 0 ? stretches.length : after;
	const before = stretches[index - 1];
	const next = stretches[index];
	invariant((before?.end ?? 0) <= added.start, `bytes from ${added.start} were written twice`);
	const joinsBefore = before?.end === added.start;
	const joinsNext = next?.start === added.end;
	let joined = added;
	if (joinsBefore) joined = join(before, joined);
	if (joinsNext) joined = join(joined, next);
	stretches.splice(
		index - (joinsBefore ? 1 : 0),
		(joinsBefore ? 1 : 0) + (joinsNext ? 1 : 0),
		joined,
	);
}

function join(first: Stretch, second: Stretch): Stretch {
	return {
		start: first.start,
		end: second.end,
		crc32: crc32Combine(first.crc32, second.crc32, second.end - second.start),
	};
}
