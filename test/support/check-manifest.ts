import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { expect } from "vitest";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { SUMMARY_NAME } from "../../src/job/state.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { readManifest } from "../../src/manifest/read.ts";

/** Reads the manifest of a checkpoint and compares all that it says of it with what is on the disk. */
export async function checkManifest(directory: string): Promise<Manifest> {
	const manifest = await readManifest(directory);
	if (manifest === undefined) throw new Error(`${directory} has no manifest`);
	const metadata = readFileSync(join(directory, ".metadata"));
	expect(manifest.metadata).toEqual({ bytes: metadata.length, sha256: sha256(metadata) });
	expect(manifest.summary).toEqual(readJson(join(directory, SUMMARY_NAME)));
	const { tensors } = await readCheckpoint(directory);
	expect(boxesOf(manifest)).toEqual(
		tensors
			.map(({ fqn, dtype, shape, entries }) => ({
				fqn,
				dtype,
				shape,
				entries: entries.map(({ box, file, offset, length }) => ({ box, file, offset, length })),
			}))
			.toSorted(byName),
	);
	for (const tensor of manifest.tensors) {
		for (const entry of tensor.entries) {
			const name = manifest.files[entry.file]!.name;
			const where = `${tensor.fqn} ${JSON.stringify(entry.box)} in ${name}`;
			const isHere = entry.crc32 !== undefined;
			expect(isHere || manifest.ranks !== undefined, where).toBe(true);
			expect(entry.hash !== undefined, where).toBe(isHere && manifest.hash === "sha256");
			if (!isHere) continue;
			const file = fileOf(directory, name);
			expect(file.length).toBe(manifest.files[entry.file]!.bytes);
			const { prefixBytes, dataBytes } = torchSaveFormat.geometry(tensor.dtype, entry.box.size);
			const begin = entry.offset + prefixBytes;
			const data = file.subarray(begin, begin + dataBytes);
			expect(crc32(data), where).toBe(entry.crc32);
			if (entry.hash !== undefined) expect(hashOf(data, entry.ends), where).toBe(entry.hash);
		}
	}
	files.clear();
	return manifest;
}

/** The hash of an entry, as the manifest defines it. */
export function hashOf(data: Uint8Array, ends: readonly number[] | undefined): string {
	if (ends === undefined) return sha256(data);
	let begin = 0;
	const digests = ends.map((end) => {
		const part = data.subarray(begin, end);
		begin = end;
		return Buffer.from(sha256(part), "hex");
	});
	return sha256(Buffer.concat(digests));
}

/** What two runs of one command must agree on. */
export function sameInEveryRun(manifest: Manifest): object {
	const { summary: _, ...rest } = manifest;
	return rest;
}

const files = new Map<string, Buffer>();

function fileOf(directory: string, name: string): Buffer {
	const path = join(directory, name);
	let file = files.get(path);
	if (file === undefined) files.set(path, (file = readFileSync(path)));
	return file;
}

function boxesOf({ tensors, files: names }: Manifest): readonly object[] {
	return tensors
		.map(({ fqn, dtype, shape, entries }) => ({
			fqn,
			dtype,
			shape,
			entries: entries.map(({ box, file, offset, length }) => ({
				box,
				file: names[file]!.name,
				offset,
				length,
			})),
		}))
		.toSorted(byName);
}

function byName(a: { readonly fqn: string }, b: { readonly fqn: string }): number {
	return a.fqn < b.fqn ? -1 : 1;
}

function sha256(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}

function readJson(path: string): unknown {
	return JSON.parse(readFileSync(path, "utf8"));
}
