import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { HfStreamDcpError } from "../core/errors.ts";
import { isMissing } from "../files/read-file.ts";
import { assembleManifest } from "./assemble.ts";
import { corruptManifest, foreignManifest } from "./corrupt.ts";
import { ENTRIES_BEGIN, manifestEnd, ROWS_END } from "./encode.ts";
import { type Manifest, MANIFEST_NAME } from "./manifest.ts";
import { type ManifestHead, manifestHead } from "./schema.ts";

const END_BYTES = manifestEnd("0".repeat(64)).length;
const FORMAT_LINE = '{\n"format":"hf-stream-dcp manifest 1",\n';

/**
 * Reads the manifest of a checkpoint, all of it checked: its own hash, every member and every row. Not checked is whether it fits the
 * files that it speaks of.
 *
 * @param directory - Of the checkpoint.
 * @returns `undefined` when there is none: the checkpoint is not this program's, or of a version before it.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` when it is damaged, or of another version; `SOURCE_UNREADABLE` when it cannot be read.
 */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
	const path = join(directory, MANIFEST_NAME);
	try {
		return parseManifest(await readFile(path), path);
	} catch (error) {
		if (isMissing(error)) return undefined;
		if (!(error instanceof Error) || !("syscall" in error)) throw error;
		throw new HfStreamDcpError("SOURCE_UNREADABLE", `cannot read ${path}: ${error.message}`, {
			hint: "Check its permissions and the storage.",
			facts: { path },
			cause: error,
		});
	}
}

/**
 * What the bytes of a manifest say.
 *
 * @param bytes - Of the whole file.
 * @param path - For messages.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT`
 */
export function parseManifest(bytes: Buffer, path: string): Manifest {
	const body = signedPart(bytes, path);
	if (!body.subarray(0, FORMAT_LINE.length).equals(Buffer.from(FORMAT_LINE))) {
		const start = body.toString("latin1", 0, 128);
		const [, format = "something else"] = /^\{\n"format":("[^"\n]{1,80}"),\n/.exec(start) ?? [];
		throw foreignManifest(path, format);
	}
	const begin = body.indexOf(ENTRIES_BEGIN);
	const isWhole = begin >= 0 && body.subarray(-ROWS_END.length).equals(Buffer.from(ROWS_END));
	if (!isWhole) throw corruptManifest(path, "it has no entries");
	const rows = body.subarray(begin + ENTRIES_BEGIN.length, -ROWS_END.length);
	return assembleManifest(parseHead(body.toString("utf8", 0, begin), path), rows, path);
}

/** All bytes that the checksum at the end speaks for. */
function signedPart(bytes: Buffer, path: string): Buffer {
	const end = bytes.length - END_BYTES;
	const written = bytes.toString("latin1", Math.max(0, end));
	if (!/^"sha256":"[0-9a-f]{64}"\n\}\n$/.test(written)) {
		throw corruptManifest(path, "it does not end with its checksum");
	}
	const body = bytes.subarray(0, end);
	const sha256 = createHash("sha256").update(body).digest("hex");
	if (written !== manifestEnd(sha256)) throw corruptManifest(path, "its checksum is wrong");
	return body;
}

/** @param text - Members, with a comma after each. */
function parseHead(text: string, path: string): ManifestHead {
	const head = parseJson(`${text.slice(0, -1)}}`, path);
	const parsed = v.safeParse(manifestHead, head);
	if (parsed.success) {
		assertAllKept(parsed.output, head as ManifestHead, path);
		return parsed.output;
	}
	const [issue] = parsed.issues;
	throw corruptManifest(path, `${v.getDotPath(issue) ?? "its members"}: ${issue.message}`);
}

/** valibot leaves members out, without a word, whose names could change what an object is: `prototype`. */
function assertAllKept(kept: ManifestHead, written: ManifestHead, path: string): void {
	for (const of of [
		(head: ManifestHead) => head.command,
		(head: ManifestHead) => head.summary.command,
	]) {
		const lost = Object.keys(of(written)).find((name) => !Object.hasOwn(of(kept), name));
		if (lost !== undefined) throw corruptManifest(path, `command: ${lost} is no name`);
	}
}

function parseJson(text: string, path: string): unknown {
	try {
		return JSON.parse(text);
	} catch (error) {
		throw corruptManifest(path, `it is not JSON: ${(error as Error).message}`);
	}
}
