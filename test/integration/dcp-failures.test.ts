import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { type CheckpointWriter, openCheckpointWriter } from "../support/checkpoint-writer.ts";
import {
	dataOf,
	layOutCheckpoint,
	type TestCheckpoint,
	writeEntry,
} from "../support/dcp-checkpoint.ts";
import { checkpointFiles } from "../support/job-state.ts";

const isRoot = process.getuid?.() === 0;

const checkpoint = layOutCheckpoint(
	Array.from({ length: 40 }, (_, layer) => {
		return { fqn: `layers.${layer}`, dtype: "float32", shape: [64, 32], rows: [32, 32] } as const;
	}),
);

let root: string;
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "dcp-failures-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function open(directory: string, overwrite = false): Promise<CheckpointWriter> {
	return openTestCheckpoint(directory, checkpoint, overwrite);
}

function openTestCheckpoint(
	directory: string,
	{ entries, files }: TestCheckpoint,
	overwrite: boolean,
): Promise<CheckpointWriter> {
	return openCheckpointWriter({ directory, planId: "plan", entries, files, overwrite });
}

async function finish(directory: string, overwrite = false): Promise<number> {
	await using writer = await open(directory, overwrite);
	for (const entry of checkpoint.entries.keys()) {
		if (!writer.isFinished(entry)) await writeEntry(writer, checkpoint.entries, entry);
	}
	await writer.commit(checkpoint.index);
	return writer.resumedEntries;
}

async function contents(directory: string): Promise<Map<string, string>> {
	const all = new Map<string, string>();
	for (const name of checkpointFiles(directory)) {
		all.set(name, await readFile(join(directory, name), "base64"));
	}
	return all;
}

/** The user with the fewest rights, on every Linux. */
const NOBODY = 65_534;

describe.skipIf(!isRoot)("a small disk (a tmpfs; needs root)", () => {
	let disk: string;
	beforeEach(async () => {
		disk = join(root, "disk");
		await mkdir(disk);
		execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
	});
	afterEach(() => execFileSync("umount", ["--lazy", disk]));

	test("that fills up midway: what is finished is kept, and the rest is written when there is room", async () => {
		const directory = join(disk, "step-0");
		let written = 0;
		const failing = async (): Promise<void> => {
			await using writer = await open(directory);
			for (const entry of checkpoint.entries.keys()) {
				if (entry === 20)
					await writeFile(join(disk, "filler"), new Uint8Array(2 ** 20)).catch(() => {});
				await writeEntry(writer, checkpoint.entries, entry);
				written++;
			}
		};
		await expect(failing()).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
			message: expect.stringContaining("the disk is full") as string,
			facts: { errno: "ENOSPC" },
		});
		expect(existsSync(join(directory, ".metadata"))).toBe(false);
		expect(written).toBeGreaterThanOrEqual(20);
		await rm(join(disk, "filler"));
		const resumed = await finish(directory);
		// The journal itself had no room, so the second run may know of fewer entries than were written, never of more.
		expect(resumed).toBeLessThanOrEqual(written);
		expect((await readCheckpoint(directory)).problems).toEqual([]);
	});

	test("without room for the plan is refused before anything is written", async () => {
		const large = layOutCheckpoint([
			{ fqn: "w", dtype: "uint8", shape: [2, 2 ** 21], rows: [1, 1] },
		]);
		const directory = join(disk, "step-0");
		await expect(openTestCheckpoint(directory, large, false)).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
			message: expect.stringMatching(/takes 4\.1 MiB, and .* has room for/) as string,
			hint: expect.stringMatching(/^Free 3(\.\d)? MiB more/) as string,
		});
		expect(await readdir(directory)).toEqual([]);
	});

	test("counts what overwriting frees, and keeps the old checkpoint when that is not enough", async () => {
		const directory = join(disk, "step-0");
		await finish(directory);
		await finish(directory, true);
		const before = await contents(directory);
		const large = layOutCheckpoint([{ fqn: "w", dtype: "uint8", shape: [1, 2 ** 21], rows: [1] }]);
		await expect(openTestCheckpoint(directory, large, true)).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
		});
		expect(await contents(directory)).toEqual(before);
	});

	test("that is read-only", async () => {
		execFileSync("mount", ["-o", "remount,ro", disk]);
		await expect(open(join(disk, "step-0"))).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
			message: expect.stringContaining("read-only") as string,
			hint: expect.any(String) as string,
		});
	});
});

test("a directory without write permission", async () => {
	await chmod(root, 0o555);
	// Root may write anywhere, so it stands back for a moment.
	if (isRoot) process.seteuid?.(NOBODY);
	try {
		await expect(open(join(root, "step-0"))).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
			message: expect.stringContaining("permission denied") as string,
		});
	} finally {
		if (isRoot) process.seteuid?.(0);
	}
});

test("a path under a file, and a path that is a file", async () => {
	const file = join(root, "file");
	await writeFile(file, "");
	await expect(open(join(file, "step-0"))).rejects.toMatchObject({
		code: "OUTPUT_WRITE",
		message: expect.stringContaining("a part of the path is a file") as string,
	});
	await expect(open(file)).rejects.toMatchObject({
		code: "OUTPUT_WRITE",
		message: expect.stringContaining("in the way") as string,
	});
});

describe("killed in the middle (SIGKILL), the same plan finishes it, byte for byte", () => {
	test.each([{ after: 5 }, { after: 33 }])("after $after entries", async ({ after }) => {
		const undisturbed = join(root, "undisturbed");
		await finish(undisturbed);
		const directory = join(root, "killed");
		const { entries, files } = checkpoint;
		const job = {
			options: { directory, planId: "plan", entries, files, overwrite: false },
			data: entries.map((entry) => Buffer.from(dataOf(entry)).toString("base64")),
			flushEvery: 4,
		};
		await writeFile(join(root, "job.json"), JSON.stringify(job));
		const script = join(import.meta.dirname, "../support/dcp-child.mjs");
		const child = spawn(process.execPath, [script, join(root, "job.json")], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		const closed = new Promise((resolve) => child.on("close", resolve));
		let reached = -1;
		for await (const line of createInterface(child.stdout)) {
			reached = Number(line);
			if (reached === after) child.kill("SIGKILL");
		}
		await closed;
		expect(child.signalCode).toBe("SIGKILL");
		expect(existsSync(join(directory, ".metadata"))).toBe(false);

		const resumed = await finish(directory);
		// Everything up to the last flush before the last line we saw.
		expect(resumed).toBeGreaterThanOrEqual(Math.floor((reached + 1) / 4) * 4);
		expect(await contents(directory)).toEqual(await contents(undisturbed));
	});
});

test.skipIf(process.platform === "win32")(
	"more ranks than this process may open files",
	async () => {
		const rows = Array.from({ length: 200 }, () => 1);
		const { entries, files } = layOutCheckpoint(
			["a", "b"].map((fqn) => ({ fqn, dtype: "float32", shape: [200, 3], rows }) as const),
		);
		const job = {
			options: {
				directory: join(root, "step-0"),
				planId: "plan",
				entries,
				files,
				overwrite: false,
			},
			data: entries.map((entry) => Buffer.from(dataOf(entry)).toString("base64")),
			flushEvery: 50,
		};
		await writeFile(join(root, "job.json"), JSON.stringify(job));
		const script = join(import.meta.dirname, "../support/dcp-child.mjs");
		const command = 'ulimit -n 100 && exec "$0" "$@"';
		const written = execFileSync(
			"/bin/sh",
			["-c", command, process.execPath, script, join(root, "job.json")],
			{ encoding: "utf8" },
		);
		expect(written.trim().split("\n").length).toBe(entries.length);
	},
);

test("a data file that disappears while it is written is an error, also when it was closed to make room", async () => {
	const { entries, files } = checkpoint;
	const directory = join(root, "step-0");
	await using writer = await openCheckpointWriter({
		directory,
		planId: "plan",
		entries,
		files,
		overwrite: false,
		maxOpenFiles: 1,
	});
	for (let entry = 0; entry < 4; entry++) await writeEntry(writer, entries, entry);
	for (const name of files.map((file) => file.name)) await rm(join(writer.attempt, name));
	const rest = async (): Promise<void> => {
		for (let entry = 4; entry < 8; entry++) await writeEntry(writer, entries, entry);
	};
	await expect(rest()).rejects.toMatchObject({
		code: "OUTPUT_WRITE",
		message: expect.stringContaining("disappeared") as string,
	});
});
