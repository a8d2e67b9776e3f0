import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { bytesOutside, countsOf, sumOf } from "../support/byte-set.ts";
import {
	createJobFixture,
	endsOf,
	errorOf,
	expectEnded,
	type JobFixture,
	type StartOptions,
	warningsOf,
} from "../support/job-fixture.ts";
import { spansLeftOf } from "../support/job-journals.ts";

const WORKERS = 3;
const ALL = [0, 1, 2];
const MESH = ["--dp-shard", "4", "--tp", "2", "--ep", "4"];

/** Debian's libfaketime; it shifts the clock that tells the time of day. */
const FAKETIME = ["x86_64", "aarch64"]
	.map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`)
	.find((path) => existsSync(path));
if (FAKETIME === undefined && process.env["CI"] !== undefined) {
	throw new Error("needs libfaketime (Debian: libfaketime)");
}

let job: JobFixture;

beforeAll(async () => {
	job = await createJobFixture(WORKERS);
});

beforeEach(() => job.next());

afterEach(() => job.hub.release());

afterAll(() => job[Symbol.asyncDispose]());

/** Everything in the job's directory, with the moment of its last change. */
function snapshot(): unknown {
	return readdirSync(job.out)
		.toSorted()
		.map((name) => {
			const { ino, mtimeMs, ctimeMs, size } = statSync(join(job.out, name));
			return { name, ino, mtimeMs, ctimeMs, size };
		});
}

test("each weight byte is fetched once, in as many requests as planned, and headers once for all", async () => {
	const before = job.hub.requests.length;
	expectEnded(await endsOf(job.startAll()), 0);
	const requests = job.hub.requests.slice(before);
	const fetched = job.fetchedSince(before);
	const { totals, source } = job.plan;
	expect(sumOf(fetched)).toBe(totals.fetchBytes);
	expect(countsOf(fetched).every(({ count }) => count === 1)).toBe(true);
	expect(fetched.length).toBe(totals.requests);
	const headers = requests.filter(({ origin }) => origin === "cdn").length - fetched.length;
	expect(headers).toBe(2 * source.files.length);
});

describe("signals", () => {
	test("SIGTERM to all: 143, everything finished is written down, the next start fetches the rest", async () => {
		job.hold();
		const workers = job.startAll();
		await job.inTheMiddle(ALL);
		for (const { child } of workers) child.kill("SIGTERM");
		expectEnded(await endsOf(workers), 143);
		await job.hub.quiet();
		job.hub.release();
		await job.expectResumes(2);
	});

	test("SIGTERM to one: the others finish its share without waiting for a lease", async () => {
		job.hold();
		const [first, ...others] = job.startAll();
		await job.inTheMiddle(ALL);
		first!.child.kill("SIGTERM");
		expectEnded([await first!.ended], 143);
		job.hub.release();
		const ends = await endsOf(others);
		expectEnded(ends, 0);
		expect(warningsOf(ends)).toMatch(/takes over share 0.*gave back/);
		job.expectWhole();
	});

	test("Ctrl-C: 130, and it can be continued", async () => {
		job.hold();
		const workers = job.startAll();
		await job.inTheMiddle(ALL);
		for (const { child } of workers) child.kill("SIGINT");
		expectEnded(await endsOf(workers), 130);
		await job.hub.quiet();
		job.hub.release();
		await job.expectResumes();
	});
});

test("a worker that comes after the end changes nothing", async () => {
	expectEnded(await endsOf(job.startAll()), 0);
	const before = snapshot();
	const asked = job.hub.requests.length;
	const late = await job.start(1).ended;
	expectEnded([late], 0);
	expect(JSON.parse(late.stdout)).toMatchObject({ outcome: "found" });
	expect(snapshot()).toEqual(before);
	expect(job.hub.requests.slice(asked)).toEqual([]);
	job.expectWhole();
});

test("a worker that never comes is waited for as long as a lease", async () => {
	const ends = await endsOf([job.start(0), job.start(2)]);
	expectEnded(ends, 0);
	expect(warningsOf(ends)).toMatch(/takes over share 1.*nobody has begun/);
	job.expectWhole();
});

test("the same worker twice: each share is done once, and both end well", async () => {
	const before = job.hub.requests.length;
	expectEnded(await endsOf([...job.startAll(), job.start(1)]), 0);
	expect(sumOf(job.fetchedSince(before))).toBe(job.plan.totals.fetchBytes);
	job.expectWhole();
});

test.skipIf(FAKETIME === undefined)(
	"clocks that are an hour apart: nobody alive is taken for dead, and the dead are found",
	async () => {
		const shifted = (hours: string): StartOptions => ({
			env: {
				LD_PRELOAD: FAKETIME ?? "",
				FAKETIME: `${hours}h`,
				FAKETIME_DONT_FAKE_MONOTONIC: "1",
			},
		});
		job.hold();
		const before = job.hub.requests.length;
		const [first, second, third] = [
			job.start(0),
			job.start(1, shifted("+1")),
			job.start(2, shifted("-1")),
		];
		await job.inTheMiddle(ALL);
		// Longer than a lease: everybody has had time to doubt everybody.
		await wait(7_000);
		second.child.kill("SIGKILL");
		await second.ended;
		const lost = spansLeftOf(job.out, job.plan, 1);
		job.hub.release();
		expectEnded(await endsOf([first, third]), 0);
		const twice = countsOf(job.fetchedSince(before)).filter(({ count }) => count > 1);
		expect(bytesOutside(twice, lost)).toBe(0);
		job.expectWhole();
	},
);

describe("another command in the same directory", () => {
	test("is refused while a job is under way, with the difference", async () => {
		job.hold();
		const workers = job.startAll();
		await job.inTheMiddle(ALL);
		for (const [args, difference] of [
			[["--dp-shard", "8"], /mesh: .*, now .*dpShard 8/],
			[[...MESH, "--dtype", "float32"], /dtype: keep, now float32/],
		] as const) {
			const other = await job.start(1, { args }).ended;
			expectEnded([other], 5);
			expect(errorOf(other).code).toBe("PLAN_CHANGED");
			expect(errorOf(other).message).toMatch(difference);
		}
		job.hub.release();
		expectEnded(await endsOf(workers), 0);
		job.expectWhole();
	});

	test("is refused when it is finished, with the difference", async () => {
		expectEnded(await endsOf(job.startAll()), 0);
		const before = snapshot();
		const other = await job.start(0, { args: ["--dp-shard", "8"] }).ended;
		expectEnded([other], 5);
		expect(errorOf(other).code).toBe("OUTPUT_EXISTS");
		expect(errorOf(other).message).toMatch(/mesh: .*, now .*dpShard 8/);
		expect(snapshot()).toEqual(before);
	});

	test("with --overwrite: nothing of an abandoned job is taken for data", async () => {
		job.hold();
		const workers = job.startAll({ args: ["--dp-shard", "8"] });
		while (!ALL.every((share) => job.hub.isHolding(`share ${share}`))) await wait(10);
		for (const { child } of workers) child.kill("SIGKILL");
		await endsOf(workers);
		await job.hub.quiet();
		job.hub.release();
		expect(existsSync(join(job.out, ".hf-stream-dcp"))).toBe(true);
		const before = job.hub.requests.length;
		expectEnded(await endsOf(job.startAll({ args: [...MESH, "--overwrite"] })), 0);
		expect(sumOf(job.fetchedSince(before))).toBe(job.plan.totals.fetchBytes);
		job.expectWhole();
	});
});
