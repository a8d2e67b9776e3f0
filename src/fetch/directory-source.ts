import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import { emitTo, type EventListener } from "../core/events.ts";
import type { ByteRange, ByteSource } from "../core/ports.ts";
import type { RepoFile } from "./repo-files.ts";

/** Most files that are open at once. A model can have hundreds, and 256 is a common limit of a process. */
const MAX_OPEN_FILES = 64;

/** Largest single read, bytes: an abort takes effect between two. Node itself refuses 2 GiB. */
const MAX_READ_BYTES: number = 16 * 1024 * 1024;

/** An open file and how many reads use it. */
interface OpenFile {
	readonly handle: Promise<FileHandle>;
	users: number;
}

/**
 * The files of a directory as a byte source. Files are opened when they are first read and closed, longest unused first,
 * when there are too many; a file whose size is no longer what it was when it was listed is refused.
 *
 * @param root - Absolute path of the directory.
 * @param files - The files that may be read, by path inside it.
 */
export function createDirectorySource(
	root: string,
	files: ReadonlyMap<string, RepoFile>,
	onEvent?: EventListener,
): ByteSource {
	const emit = emitTo(onEvent);
	let received = 0;
	// In order of use, oldest first.
	const openFiles = new Map<string, OpenFile>();

	const openFile = (path: string, expected: RepoFile): OpenFile => {
		const file: OpenFile = { handle: openChecked(root, expected), users: 0 };
		// Forgotten when it fails, so that the next read tries again.
		file.handle.catch(() => openFiles.delete(path));
		return file;
	};

	const acquire = (path: string): OpenFile => {
		const expected = files.get(path);
		invariant(expected !== undefined, `${path} is not a file of this source`);
		const file = openFiles.get(path) ?? openFile(path, expected);
		file.users++;
		openFiles.delete(path);
		openFiles.set(path, file);
		return file;
	};

	const release = async (file: OpenFile): Promise<void> => {
		file.users--;
		for (const [idlePath, idle] of openFiles) {
			if (openFiles.size <= MAX_OPEN_FILES) break;
			if (idle.users > 0) continue;
			openFiles.delete(idlePath);
			await close(idle);
		}
	};

	return {
		async readInto(range, into, options) {
			const { signal } = options ?? {};
			invariant(into.length === range.end - range.start, "the memory has the length of the range");
			signal?.throwIfAborted();
			if (into.length === 0) return;
			emit({ kind: "request", range, attempt: 1 });
			const file = acquire(range.file);
			try {
				const handle = await file.handle;
				await readExactly(root, handle, range, into, (bytes) => {
					signal?.throwIfAborted();
					received += bytes;
					emit({ kind: "received", bytes: received });
				});
			} finally {
				await release(file);
			}
		},
		async [Symbol.asyncDispose]() {
			const idle = [...openFiles.values()];
			openFiles.clear();
			await Promise.all(idle.map(close));
		},
	};
}

async function close(file: OpenFile): Promise<void> {
	// A file that could not be opened has told so to whoever read it.
	const handle = await file.handle.catch(() => undefined);
	await handle?.close();
}

async function openChecked(root: string, file: RepoFile): Promise<FileHandle> {
	const path = join(root, file.path);
	let handle: FileHandle | undefined;
	try {
		handle = await open(path, "r");
		const { size } = await handle.stat();
		if (size !== file.bytes) throw changed(path, `it had ${file.bytes} bytes and now has ${size}`);
		return handle;
	} catch (error) {
		await handle?.close();
		throw unreadable(path, error);
	}
}

/** Fills `into`; `onBytes` is told of every part as it comes and may throw to stop. */
async function readExactly(
	root: string,
	handle: FileHandle,
	range: ByteRange,
	into: Uint8Array,
	onBytes: (bytes: number) => void,
): Promise<void> {
	const path = join(root, range.file);
	for (let done = 0; done < into.length;) {
		const length = Math.min(into.length - done, MAX_READ_BYTES);
		const { bytesRead } = await handle
			.read(into, done, length, range.start + done)
			.catch((error: unknown) => {
				throw unreadable(path, error);
			});
		if (bytesRead === 0) throw changed(path, `it ends at byte ${range.start + done}`);
		done += bytesRead;
		onBytes(bytesRead);
	}
}

function changed(path: string, how: string): HfStreamDcpError {
	return new HfStreamDcpError("SOURCE_CHANGED", `${path} changed while it was read: ${how}`, {
		hint: "Wait until whatever writes it is done, then run the same command again.",
		facts: { path },
	});
}

function unreadable(path: string, error: unknown): Error {
	if (error instanceof HfStreamDcpError) return error;
	return new HfStreamDcpError("SOURCE_UNREADABLE", `${path} cannot be read`, {
		hint: "Check that the file exists, that you may read it, and that its disk is well.",
		facts: { path },
		cause: error,
	});
}
