import { execFileSync } from "node:child_process";
import {
	closeSync,
	existsSync,
	ftruncateSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { allocatePages } from "../../src/core/page-memory.ts";
import { DataFiles } from "../../src/dcp/data-files.ts";
import { probeWriteMode } from "../../src/dcp/write-mode.ts";
import { randomBytes } from "../support/stream-fakes.ts";

const MiB = 2 ** 20;
const isDirect = (await probeWriteMode(tmpdir())) === "direct";

let root: string;
beforeEach(() => {
	root = mkdtempSync(join(tmpdir(), "dcp-direct-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Memory that begins on a page, full of bytes. */
function pagesOf(bytes: number, seed: number): Uint8Array {
	const memory = allocatePages(bytes);
	const block = randomBytes(65_521, seed);
	for (let at = 0; at < bytes; at += block.length) memory.set(block.subarray(0, bytes - at), at);
	return memory;
}

describe.skipIf(!isDirect)("direct writes (need O_DIRECT in the temporary folder)", () => {
	test("leave holes where nobody wrote: a file takes the room of what it holds", async () => {
		const files = [{ name: "f", bytes: 64 * MiB }];
		await using data = new DataFiles({ directory: root, files, maxOpen: 2, mode: "direct" });
		await data.write(0, 32 * MiB, [pagesOf(MiB, 1)]);
		await data.sync();
		const { size, blocks } = statSync(join(root, "f"));
		expect(size).toBe(64 * MiB);
		expect(blocks * 512).toBeLessThan(2 * MiB);
		expect(data.writes).toMatchObject({ directBytes: MiB, bufferedBytes: 0, calls: 1 });
	});

	test("one call each: a megabyte with its prefix is a direct and a buffered one", async () => {
		const files = [{ name: "f", bytes: 4 * MiB }];
		await using data = new DataFiles({ directory: root, files, maxOpen: 2, mode: "direct" });
		await data.write(0, 4096 - 700, [new Uint8Array(700), pagesOf(MiB, 1)]);
		await data.write(0, 4096 + MiB, [new Uint8Array(300)]);
		expect(data.writes).toEqual({
			mode: "direct",
			directBytes: MiB,
			bufferedBytes: 1000,
			calls: 3,
			refusals: 0,
		});
	});

	test.skipIf(!existsSync("/proc/self/fd"))(
		"both descriptors of a file count as open (needs /proc)",
		async () => {
			const files = Array.from({ length: 8 }, (_, i) => ({ name: `f${i}`, bytes: 2 * MiB }));
			const maxOpen = 6;
			await using data = new DataFiles({ directory: root, files, maxOpen, mode: "direct" });
			const memory = pagesOf(MiB, 1);
			let most = 0;
			for (let round = 0; round < 3; round++) {
				for (const index of files.keys()) {
					await data.write(index, 4096 - 50, [memory.subarray(0, 50)]);
					if (round === 0) await data.write(index, 4096, [memory]);
					most = Math.max(most, openBelow(root));
				}
			}
			expect(most).toBe(maxOpen);
			expect(data.writes.directBytes).toBe(8 * MiB);
			await data.sync();
		},
	);
});

/** Descriptors that this process has open on files of a folder. */
function openBelow(folder: string): number {
	return readdirSync("/proc/self/fd").filter((fd) => {
		try {
			return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${folder}/`);
		} catch {
			// The descriptor of this very listing.
			return false;
		}
	}).length;
}

/** Mounts a file system of `bytes` on `folder`; `false` where that is not possible. */
function mountExt4(image: string, folder: string, bytes: number): boolean {
	try {
		const fd = openSync(image, "w");
		ftruncateSync(fd, bytes);
		closeSync(fd);
		execFileSync("mkfs.ext4", ["-q", "-F", image], { stdio: "ignore" });
		mkdirSync(folder);
		execFileSync("mount", ["-o", "loop", image, folder], { stdio: "ignore" });
		return true;
	} catch {
		return false;
	}
}

const small = mkdtempSync(join(tmpdir(), "dcp-small-"));
const disk = join(small, "disk");
const isMounted = isDirect && mountExt4(join(small, "image"), disk, 24 * MiB);
afterAll(() => {
	if (isMounted) execFileSync("umount", ["--lazy", disk]);
	rmSync(small, { recursive: true, force: true });
});

describe.skipIf(!isMounted)("a small disk (ext4 on a loop device; needs root and O_DIRECT)", () => {
	test("that fills up under direct writes is an error, and what is written stays", async () => {
		expect(await probeWriteMode(disk)).toBe("direct");
		const files = [{ name: "f", bytes: 8 * MiB }];
		await using data = new DataFiles({ directory: disk, files, maxOpen: 4, mode: "direct" });
		const memory = pagesOf(8 * MiB, 7);
		const put = (mebibyte: number): Promise<void> =>
			data.write(0, mebibyte * MiB, [memory.subarray(mebibyte * MiB, (mebibyte + 1) * MiB)]);
		await put(0);
		await put(5);
		try {
			writeFileSync(join(disk, "filler"), new Uint8Array(24 * MiB));
		} catch {
			// As full as it gets.
		}
		await expect(put(2)).rejects.toMatchObject({
			code: "OUTPUT_WRITE",
			message: expect.stringContaining("the disk is full") as string,
			facts: { errno: "ENOSPC" },
		});
		rmSync(join(disk, "filler"));
		for (const mebibyte of [1, 2, 3, 4, 6, 7]) await put(mebibyte);
		await data.sync();
		expect(data.writes).toMatchObject({ bufferedBytes: 0, refusals: 0 });
		expect(Buffer.compare(readFileSync(join(disk, "f")), memory)).toBe(0);
	});
});
