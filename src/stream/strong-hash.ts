import { sha256 } from "../checksum/sha256.ts";
import type { StrongHash } from "../core/ports.ts";
import { at } from "../core/shape.ts";

/** What was made of an entry in one go: the bytes up to `end` of its data, from where the stretch before ends. */
export interface HashedPart {
	readonly end: number;
	/** SHA-256 of its bytes, 32 bytes. */
	readonly digest: Uint8Array;
}

/** The hash of an entry without data. */
export const EMPTY_HASH: StrongHash = { hash: sha256(new Uint8Array()) };

/**
 * The hash of a whole entry. Parts are made side by side and in any order, and no SHA-256 goes on from another: that of several is one of
 * their digests, which says as much of the data.
 *
 * @param parts - All of the entry, at least one, in any order.
 */
export function hashOfParts(parts: readonly HashedPart[]): StrongHash {
	const sorted = parts.toSorted((a, b) => a.end - b.end);
	if (sorted.length === 1) return { hash: Buffer.from(at(sorted, 0).digest).toString("hex") };
	const digests = Buffer.concat(sorted.map(({ digest }) => digest));
	return { hash: sha256(digests), ends: sorted.map(({ end }) => end) };
}
