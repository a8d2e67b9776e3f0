import { cp, mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { decodeMetadata } from "../../src/dcp/metadata-reader.ts";
import { encodeMetadata } from "../../src/dcp/metadata-writer.ts";

const REAL = join(import.meta.dirname, "../fixtures/dcp/real_mp8_fsdp_tp_ep");

let root: string;
let directory: string;
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "dcp-reader-"));
	directory = join(root, "checkpoint");
	await cp(REAL, directory, { recursive: true });
});
afterEach(() => rm(root, { recursive: true }));

test("missing and short files are reported, not fatal: the metadata alone is worth reading", async () => {
	await rm(join(directory, "__2_0.distcp"));
	await truncate(join(directory, "__5_0.distcp"), 100);
	const { files, problems } = await readCheckpoint(directory);
	expect(problems).toEqual([
		expect.stringMatching(/"__[25]_0.distcp"/),
		expect.stringMatching(/"__[25]_0.distcp"/),
	]);
	expect(files.find(({ name }) => name === "__2_0.distcp")).toMatchObject({
		isMissing: true,
		bytes: 0,
	});
	expect(files.find(({ name }) => name === "__5_0.distcp")).toMatchObject({
		isMissing: false,
		bytes: 100,
	});
});

test("metadata per rank is joined, in order of rank, when there is no .metadata", async () => {
	const whole = decodeMetadata(await readFile(join(directory, ".metadata")), ".metadata");
	await rm(join(directory, ".metadata"));
	const ranks = [10, 9];
	for (const [half, rank] of ranks.entries()) {
		const tensors = whole.tensors.map((tensor) => {
			const entries = tensor.entries.filter((_, chunk) => chunk % 2 === half || chunk === 0);
			return { ...tensor, entries };
		});
		const part = encodeMetadata({ tensors, objects: whole.objects });
		await writeFile(join(directory, `__${rank}.metadata`), part);
	}
	const { metadataFiles, tensors, objects, problems } = await readCheckpoint(directory);
	expect(metadataFiles).toEqual(["__9.metadata", "__10.metadata"]);
	expect(problems).toEqual([]);
	expect(objects).toEqual(whole.objects);
	const names = (list: typeof tensors): string[] =>
		list.flatMap(({ entries }) => entries.map((entry) => JSON.stringify(entry))).toSorted();
	expect(names(tensors)).toEqual(names(whole.tensors));
});

test("what is no checkpoint is told apart", async () => {
	await rename(join(directory, ".metadata"), join(root, "m"));
	const unreadable = { code: "SOURCE_UNREADABLE" };
	await expect(readCheckpoint(directory)).rejects.toMatchObject({
		...unreadable,
		message: expect.stringContaining("has no .metadata") as string,
	});
	await expect(readCheckpoint(join(root, "nowhere"))).rejects.toMatchObject({
		...unreadable,
		message: expect.stringContaining("does not exist") as string,
	});
	await expect(readCheckpoint(join(root, "m"))).rejects.toMatchObject(unreadable);
	await mkdir(join(directory, ".metadata"));
	await expect(readCheckpoint(directory)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
});
