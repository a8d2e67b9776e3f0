import type { ByteSource } from "../core/ports.ts";
import type { SourceFile, SourceTensor } from "../core/source.ts";
import type { HeaderContext } from "./header-error.ts";
import { mapConcurrently } from "./map-concurrently.ts";
import type { RepoFile } from "./repo-files.ts";
import {
	HEADER_LENGTH_BYTES,
	parseHeaderLength,
	parseSafetensorsHeader,
} from "./safetensors-header.ts";

/** A safetensors file and the tensors its header lists, in the order of their bytes. */
export interface FileHeader {
	readonly file: SourceFile;
	readonly tensors: readonly SourceTensor[];
}

/**
 * Reads the headers of `files`, at most `concurrency` at a time. Each takes exactly two requests, for the length field
 * and for the JSON: a larger first request would save a round trip, but then bytes of the data would be fetched twice.
 *
 * @returns One header per file, in the order of `files`.
 * @throws {HfStreamDcpError} `HEADER_INVALID`, `DTYPE_UNSUPPORTED`, or what `bytes` throws.
 */
export function readHeaders(
	bytes: ByteSource,
	files: readonly RepoFile[],
	options: { readonly concurrency: number; readonly signal?: AbortSignal | undefined },
): Promise<readonly FileHeader[]> {
	return mapConcurrently(
		files,
		options.concurrency,
		(file, signal) => readHeader(bytes, file, signal),
		options.signal,
	);
}

async function readHeader(
	source: ByteSource,
	file: RepoFile,
	signal: AbortSignal,
): Promise<FileHeader> {
	const context: HeaderContext = { file: file.path, fileBytes: file.bytes };
	const prefix = new Uint8Array(HEADER_LENGTH_BYTES);
	if (file.bytes >= prefix.length) await read(source, file, 0, prefix, signal);
	const bytes = new Uint8Array(prefix.length + parseHeaderLength(prefix, context));
	bytes.set(prefix);
	const json = bytes.subarray(prefix.length);
	if (json.length > 0) await read(source, file, prefix.length, json, signal);
	const { headerBytes, tensors } = parseSafetensorsHeader(bytes, context);
	return { file: { ...file, headerBytes }, tensors };
}

function read(
	source: ByteSource,
	{ path }: RepoFile,
	start: number,
	into: Uint8Array,
	signal: AbortSignal,
): Promise<void> {
	return source.readInto({ file: path, start, end: start + into.length }, into, { signal });
}
