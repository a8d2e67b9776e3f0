import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
	createJobFixture,
	endsOf,
	errorOf,
	expectEnded,
	type JobFixture,
} from "../support/job-fixture.ts";
import { planPathOf } from "../support/job-journals.ts";
import { endOf, type WorkerProcess } from "../support/job-rig.ts";

const WORKERS = 2;

function whyNoMounts(): string | undefined {
	if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
	const script = "mount -t tmpfs -o size=1m tmpfs /mnt && mount -o remount,bind,ro /mnt";
	const { status } = spawnSync("unshare", ["--mount", "sh", "-c", script], { stdio: "ignore" });
	return status === 0 ? undefined : "needs the right to mount";
}

const reason = whyNoMounts();
if (reason !== undefined && process.env["CI"] !== undefined) throw new Error(reason);

let job: JobFixture;

beforeAll(async () => {
	job = await createJobFixture(WORKERS);
});

beforeEach(() => job.next());

afterEach(() => job.hub.release());

afterAll(() => job[Symbol.asyncDispose]());

/** Starts a worker whose view of the file system a script has changed first. */
function startBehind(script: string, index: number): WorkerProcess {
	const place = ["--out", job.out, "--worker", `${index}/${WORKERS}`];
	const command = [process.execPath, job.program, ...job.commandOf(index), ...place];
	const child = spawn(
		"unshare",
		["--mount", "sh", "-ec", `${script}\nexec "$@"`, "sh", ...command],
		{
			env: { PATH: process.env["PATH"], ...job.environmentOf() },
			stdio: ["ignore", "pipe", "pipe"],
		},
	);
	return { index, child, ended: endOf(index, child) };
}

describe.skipIf(reason !== undefined)(`with mounts of our own (${reason ?? "here"})`, () => {
	let mounts: string[] = [];

	afterEach(() => {
		for (const path of mounts) spawnSync("umount", ["-l", path]);
		mounts = [];
	});

	function mountTmpfs(path: string, size: string): void {
		mkdirSync(path, { recursive: true });
		const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path]);
		expect(status).toBe(0);
		mounts.push(path);
	}

	test("a disk without room is found before anything is fetched", async () => {
		mountTmpfs(job.out, "8m");
		const before = job.hub.requests.length;
		const ends = await endsOf(job.startAll());
		expectEnded(ends, 5);
		for (const end of ends) expect(errorOf(end).code).toBe("OUTPUT_WRITE");
		// Whoever looks first takes the job back; another may find it gone while it joins.
		expect(ends.map((end) => errorOf(end).message).join()).toMatch(/takes .* has room for/);
		const weights = job.fetchedSince(before);
		expect(weights).toEqual([]);
		expect(readdirSync(job.out)).toEqual([]);
	});

	test("a disk that others fill in the middle: all stop, and go on when there is room", async () => {
		mountTmpfs(job.out, "60m");
		job.hold();
		const workers = job.startAll();
		await job.inTheMiddle([0, 1]);
		const ballast = join(job.out, "ballast");
		// More than there is: what the workers write meanwhile is not known.
		expect(() => writeFileSync(ballast, Buffer.alloc(60 << 20))).toThrow("ENOSPC");
		job.hub.release();
		const ends = await endsOf(workers);
		expectEnded(ends, 5);
		for (const end of ends) {
			expect(errorOf(end).code).toBe("OUTPUT_WRITE");
			expect(errorOf(end).message).toContain("the disk is full");
		}
		expect(existsSync(join(job.out, ".metadata"))).toBe(false);
		rmSync(ballast);
		await job.expectResumes();
	});

	test("a disk that is full for one worker: the other one finishes", async () => {
		job.hold();
		const other = job.start(1);
		await job.inTheMiddle([1]);
		// What worker 0 writes goes to a small disk of its own.
		const attempt = join(planPathOf(job.out) ?? "", "00000", "attempt.1");
		mkdirSync(attempt, { recursive: true });
		const full = startBehind(`mount -t tmpfs -o size=2m tmpfs '${attempt}'`, 0);
		while (!existsSync(join(attempt, "..", "claim.1"))) await wait(10);
		job.hub.release();
		const end = await full.ended;
		expectEnded([end], 5);
		expect(errorOf(end).code).toBe("OUTPUT_WRITE");
		expect(errorOf(end).message).toContain("the disk is full");
		expectEnded([await other.ended], 0);
		job.expectWhole();
	});

	test("a directory that one worker may only read: the other one does all", async () => {
		mkdirSync(job.out);
		const readOnly = startBehind(
			`mount --bind '${job.out}' '${job.out}'; mount -o remount,bind,ro '${job.out}'`,
			0,
		);
		const end = await readOnly.ended;
		expectEnded([end], 5);
		expect(errorOf(end).code).toBe("OUTPUT_WRITE");
		expect(errorOf(end).message).toContain("the file system is read-only");
		const other = await job.start(1).ended;
		expectEnded([other], 0);
		job.expectWhole();
	});
});

test("a directory that vanishes in the middle: all stop, nothing of it comes back, and it can be done anew", async () => {
	job.hold();
	const workers = job.startAll();
	await job.inTheMiddle([0, 1]);
	renameSync(job.out, `${job.out}.away`);
	rmSync(`${job.out}.away`, { recursive: true });
	job.hub.release();
	const ends = await endsOf(workers);
	expectEnded(ends, 5);
	for (const end of ends) expect(errorOf(end).code).toBe("OUTPUT_WRITE");
	expect(existsSync(job.out)).toBe(false);
	expectEnded(await endsOf(job.startAll()), 0);
	job.expectWhole();
});

test("a directory that is away for a while: all stop, and go on when it is back", async () => {
	job.hold();
	const workers = job.startAll();
	await job.inTheMiddle([0, 1]);
	renameSync(job.out, `${job.out}.away`);
	job.hub.release();
	const ends = await endsOf(workers);
	expectEnded(ends, 5);
	for (const end of ends) expect(errorOf(end).code).toBe("OUTPUT_WRITE");
	expect(existsSync(job.out)).toBe(false);
	renameSync(`${job.out}.away`, job.out);
	await job.expectResumes();
});

test("data files that vanish in the middle are found missing, and made again", async () => {
	job.hold();
	const workers = job.startAll();
	await job.inTheMiddle([0, 1]);
	const share = join(planPathOf(job.out) ?? "", "00000");
	for (const name of readdirSync(share)) {
		if (name.startsWith("attempt.")) rmSync(join(share, name), { recursive: true });
	}
	job.hub.release();
	const [first, other] = await endsOf(workers);
	expectEnded([first!], 5);
	expect(errorOf(first!).message).toMatch(/disappeared|ENOENT/);
	// The other one takes over what the first gave back.
	expectEnded([other!], 0);
	job.expectWhole();
});
