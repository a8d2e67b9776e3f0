import { HfStreamDcpError } from "../core/errors.ts";
import type { RepoFiles } from "../fetch/repo-files.ts";

/** Largest file that is copied, bytes; tokenizers have up to some 40 MB. */
const MAX_COPIED_BYTES: number = 64 * 1024 * 1024;

/** What belongs to a model beside its weights: tokenizer, generation, templates, code of its own, its licence. */
const COMPANION =
	/^(?:[^/]+\.(?:json|jinja|model|tiktoken|py)|merges\.txt|vocab\.txt|(?:LICEN[CS]E|NOTICE)[^/]*)$/i;

/** Weights and their indices, which are written anew, and the configuration, which may be changed. */
const OWN = /(?:\.index\.json|^config\.json|^hf-stream-dcp\.json|^summary\.json)$/;

/** A file that is copied beside the weights. */
export interface CompanionFile {
	readonly path: string;
	readonly bytes: Uint8Array;
}

/** What was read beside the weights of a model. */
export interface Companions {
	readonly files: readonly CompanionFile[];
	/** `config.json` as it is there. */
	readonly config: Uint8Array | undefined;
	/** What could not be copied, one sentence each. */
	readonly warnings: readonly string[];
}

/**
 * Reads the small files of a model: what a loader needs beside weights. Nothing in them is executed.
 *
 * @param folder - Where its `config.json` is, with a slash at the end; empty for the top.
 * @throws {HfStreamDcpError} as reading them.
 */
export async function readCompanions(files: RepoFiles, folder: string): Promise<Companions> {
	const found: CompanionFile[] = [];
	const warnings: string[] = [];
	// Of a pipeline, only the component that is written: what lies above it belongs to all of them.
	const listed = folder === "" ? files.list : [];
	for (const { path, bytes } of listed) {
		if (!COMPANION.test(path) || OWN.test(path)) continue;
		if (bytes > MAX_COPIED_BYTES) warnings.push(`${path} is not copied: it has ${bytes} bytes`);
		else found.push({ path, bytes: await files.read(path, MAX_COPIED_BYTES) });
	}
	return { files: found, config: await readConfig(files, `${folder}config.json`), warnings };
}

async function readConfig(files: RepoFiles, path: string): Promise<Uint8Array | undefined> {
	if ((await files.find(path)) === undefined) return undefined;
	return files.read(path, MAX_COPIED_BYTES);
}

/** Whether text is JSON that says the same as `value`. */
export function saysTheSame(bytes: Uint8Array, value: unknown): boolean {
	try {
		return (
			JSON.stringify(JSON.parse(Buffer.from(bytes).toString("utf8"))) === JSON.stringify(value)
		);
	} catch (error) {
		if (error instanceof HfStreamDcpError) throw error;
		// Python's NaN and Infinity, which are no JSON: then it is not compared.
		return false;
	}
}
