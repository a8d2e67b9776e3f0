import { emitTo, type EventListener } from "../core/events.ts";
import type { ByteSource } from "../core/ports.ts";
import type { Source } from "../core/source.ts";
import type { Weights } from "./find-weights.ts";
import { readHeaders } from "./read-headers.ts";
import { type RepoFiles, sourceError } from "./repo-files.ts";
import { selectTensors } from "./select-tensors.ts";

/** Largest `config.json` that is read, bytes. Real ones have a few KiB. Fatal beyond. */
const MAX_CONFIG_BYTES: number = 16 * 1024 * 1024;

const CONFIG_FILE = "config.json";

/** Where a source is and what of it belongs to the model. */
export interface SourceParts {
	readonly repo: string;
	readonly commit: string;
	readonly files: RepoFiles;
	readonly weights: Weights;
	/** Reads the files of `weights`. */
	readonly bytes: ByteSource;
}

/** A source and what was noticed on the way. */
export interface ReadSource {
	readonly source: Source;
	/** Bytes of all headers, length fields included. */
	readonly headerBytes: number;
	readonly warnings: readonly string[];
}

/**
 * Reads the headers of the weights and `config.json`, and puts the source together.
 *
 * @throws {HfStreamDcpError} `HEADER_INVALID`, `INDEX_INVALID`, `DTYPE_UNSUPPORTED`, `SOURCE_UNREADABLE` when
 * `config.json` is no JSON, or what reading throws.
 */
export async function readSource(
	parts: SourceParts,
	options: {
		readonly connections: number;
		readonly signal?: AbortSignal | undefined;
		readonly onEvent?: EventListener | undefined;
	},
): Promise<ReadSource> {
	const { repo, commit, files, weights, bytes } = parts;
	emitTo(options.onEvent)({ kind: "phase", phase: "headers" });
	const config = await readConfig(files, weights.folder + CONFIG_FILE);
	const { connections: concurrency, signal } = options;
	const headers = await readHeaders(bytes, weights.files, { concurrency, signal });
	const { tensors, warnings } = selectTensors(headers, weights.index, weights.indexFile);
	const sourceFiles = headers.map(({ file }) => file);
	return {
		source: { repo, commit, files: sourceFiles, tensors, config },
		headerBytes: sourceFiles.reduce((sum, file) => sum + file.headerBytes, 0),
		warnings: [...weights.warnings, ...warnings],
	};
}

async function readConfig(files: RepoFiles, path: string): Promise<unknown> {
	if ((await files.find(path)) === undefined) return undefined;
	const bytes = await files.read(path, MAX_CONFIG_BYTES);
	try {
		return parsePythonJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
	} catch (error) {
		const cause = error instanceof Error ? error.message : String(error);
		throw sourceError(
			`${path} of ${files.name} is not valid JSON: ${cause}`,
			"Get the file again, or correct it.",
			{ file: path },
		);
	}
}

/**
 * JSON as Python's `json` writes it: with bare `Infinity` and `NaN`, which some configurations have (`time_step_limit` of
 * Mamba 2). No number that this program uses may be one; NaN, which JSON.parse can make of no text, becomes null.
 */
function parsePythonJson(text: string): unknown {
	const strict = text.replaceAll(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (token) => {
		if (token.startsWith('"')) return token;
		return token.replace("Infinity", "1e999").replace("NaN", "null");
	});
	return JSON.parse(strict) as unknown;
}
