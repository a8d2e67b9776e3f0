// Big files to measure with.
import { createCipheriv } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onExit } from "./cleanup.mjs";

const CHUNK_BYTES = 8 * 2 ** 20;

/**
 * A temporary directory that is removed with everything in it by `remove`, or when the process ends.
 *
 * @param {string} [parent] Default: the system's.
 * @returns {Promise<{ path: string, remove: () => Promise<void> }>}
 */
export async function scratchFolder(parent = tmpdir()) {
	const path = await mkdtemp(join(parent, "hf-stream-dcp-bench-"));
	const forget = onExit(() => rmSync(path, { recursive: true, force: true }));
	const remove = async () => {
		await rm(path, { recursive: true, force: true });
		forget();
	};
	return { path, remove };
}

/**
 * Pieces of a key stream: incompressible, never twice the same, the same for a seed on every machine.
 *
 * @param {number} bytes
 * @param {number} seed 0 to 255
 * @yields {Buffer} the next piece, which the caller may change
 */
export function* noise(bytes, seed) {
	const cipher = createCipheriv(
		"aes-128-ctr",
		Buffer.alloc(16, "hf-stream-dcp"),
		Buffer.alloc(16, seed),
	);
	const zeros = Buffer.alloc(CHUNK_BYTES);
	for (let done = 0; done < bytes; done += CHUNK_BYTES) {
		yield cipher.update(zeros.subarray(0, Math.min(CHUNK_BYTES, bytes - done)));
	}
}

/** Writes a file of {@link noise}. @param {string} path @param {number} bytes @param {number} seed */
export async function writeNoise(path, bytes, seed) {
	const file = await open(path, "w");
	try {
		for (const piece of noise(bytes, seed)) await file.write(piece);
	} finally {
		await file.close();
	}
}
