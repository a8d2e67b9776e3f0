import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { Manifest } from "../../manifest/manifest.ts";
import { parseManifest, readManifest } from "../../manifest/read.ts";

/**
 * The manifest at a path, or in the directory there.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE` when there is none; `CHECKPOINT_CORRUPT`.
 */
export async function loadManifest(place: string): Promise<Manifest> {
	const path = resolve(place);
	let manifest: Manifest | undefined;
	try {
		const isFolder = (await stat(path)).isDirectory();
		manifest = isFolder ? await readManifest(path) : parseManifest(await readFile(path), path);
	} catch (error) {
		if (error instanceof HfStreamDcpError) throw error;
		throw none(path, error);
	}
	if (manifest === undefined) throw none(path, undefined);
	return manifest;
}

function none(path: string, cause: unknown): HfStreamDcpError {
	return new HfStreamDcpError("SOURCE_UNREADABLE", `there is no manifest at ${path}`, {
		hint: "Give hf-stream-dcp.json of the conversion that the training began with, or its directory.",
		facts: { path },
		cause,
	});
}
