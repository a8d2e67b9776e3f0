import type { BufferedFile, ReadCounts } from "./buffered-file.ts";
import type { EntryReads } from "./entry-reads.ts";

/** A data file as one rank reads it. */
export interface OpenFile {
	readonly index: number;
	readonly bytes: number;
	readonly buffer: BufferedFile;
	/** The reading that has it open. */
	openedBy: number;
}

/** What entries of one kind take when nothing of them is buffered, and where it leaves the file: positions from the entry's start. */
export interface EntryKind extends EntryReads {
	readonly cold: ReadCounts;
	readonly left: BufferedFile;
}

/** A stored chunk as a loader reads it. */
export interface ReadableEntry {
	readonly offset: number;
	readonly length: number;
	readonly file: OpenFile;
	readonly kind: EntryKind;
}
