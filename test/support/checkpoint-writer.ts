import type { EntrySink } from "../../src/core/ports.ts";
import {
	type CheckpointDirectory,
	type CheckpointDirectoryOptions,
	openCheckpointDirectory,
} from "../../src/dcp/checkpoint-directory.ts";
import { createEntryWriter, type EntryWriter } from "../../src/dcp/entry-writer.ts";

/** A directory and the one writer of its entries. */
export interface CheckpointWriter extends EntrySink, Pick<CheckpointDirectory, "commit"> {
	readonly resumedEntries: number;
	/** Bytes written to data files. */
	readonly writtenBytes: number;
}

/** Options of both. */
export interface CheckpointWriterOptions extends CheckpointDirectoryOptions {
	readonly maxOpenFiles?: number | undefined;
}

/** Opens both, as a conversion with one thread does. */
export async function openCheckpointWriter(
	options: CheckpointWriterOptions,
): Promise<CheckpointWriter> {
	const directory = await openCheckpointDirectory(options);
	const writer: EntryWriter = createEntryWriter({
		...options,
		writeMode: directory.writeMode,
		isFinished: (index) => directory.resumed.has(index),
		record: (finished) => directory.record(finished),
	});
	return {
		resumedEntries: directory.resumed.size,
		get writes() {
			return writer.writes;
		},
		get writtenBytes() {
			return writer.writtenBytes;
		},
		isFinished: (index) => writer.isFinished(index),
		write: (index, offset, bytes) => writer.write(index, offset, bytes),
		finish: (index, crc32) => writer.finish(index, crc32),
		flush: () => writer.flush(),
		async commit(index) {
			await writer.flush();
			return directory.commit(index);
		},
		async [Symbol.asyncDispose]() {
			await writer[Symbol.asyncDispose]();
			await directory[Symbol.asyncDispose]();
		},
	};
}
