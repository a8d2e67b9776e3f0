import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { awaitClaim } from "../../src/job/await-claim.ts";
import { Claims } from "../../src/job/claims.ts";
import { isGone, thisProcess } from "../../src/job/process-identity.ts";
import { manualTimers } from "../support/manual-timers.ts";

let directory: string;
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "hf-stream-dcp-claims-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function watcher(timers = manualTimers(), holder = "worker 1"): Claims {
	return new Claims(join(directory, "share"), { holder, leaseMs: 60_000, timers });
}

/** Makes a claim look like one of another machine, whose process nobody here can look for. */
async function pretendElsewhere(number: number): Promise<void> {
	const path = join(directory, "share", `claim.${number}`);
	const record = JSON.parse(await readFile(path, "utf8")) as { process: object };
	record.process = { ...record.process, machine: "elsewhere", host: "elsewhere" };
	await writeFile(path, JSON.stringify(record));
}

describe("a claim", () => {
	test("is made by one of many that want it", async () => {
		const wanted = Array.from({ length: 20 }, () => watcher().take(0));
		const taken = (await Promise.all(wanted)).filter((claim) => claim !== undefined);
		expect(taken).toHaveLength(1);
		expect(taken[0]?.number).toBe(1);
		expect(await watcher().look()).toMatchObject({ number: 1, state: "alive" });
		await taken[0]?.release();
	});

	test("that is given back is free for the next", async () => {
		const first = await watcher().take(0);
		await first?.release();
		const seen = await watcher().look();
		expect(seen).toMatchObject({ number: 1, state: "released" });
		expect(await watcher().isOver(1)).toBe(true);
		const second = await watcher().take(seen.number);
		expect(second?.number).toBe(2);
		expect(await first?.isLost()).toBe(true);
		expect(await second?.isLost()).toBe(false);
		await second?.release();
	});

	test("of a process that was killed is free at once", async () => {
		const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
		await once(child, "spawn");
		const claim = await watcher().take(0);
		const path = join(directory, "share", "claim.1");
		const record = JSON.parse(await readFile(path, "utf8")) as object;
		await claim?.release();
		const started = (await readFile(`/proc/${child.pid}/stat`, "utf8")).split(" ")[21];
		const other = { ...thisProcess(), pid: child.pid ?? 0, started: started ?? "" };
		await writeFile(path, JSON.stringify({ ...record, process: other, released: false }));
		expect(await watcher().look()).toMatchObject({ state: "alive" });
		expect(isGone({ ...other, started: "1" })).toBe(true);
		child.kill("SIGKILL");
		await once(child, "exit");
		expect(await watcher().look()).toMatchObject({ state: "gone" });
	});

	test("of another machine is dead when it shows no life for a whole lease of watching", async () => {
		const holderTimers = manualTimers();
		const claim = await watcher(holderTimers).take(0);
		await pretendElsewhere(1);
		const timers = manualTimers();
		const watching = watcher(timers);
		expect(await watching.look()).toMatchObject({ state: "alive", unchangedMs: 0 });
		timers.advance(59_999);
		expect(await watching.look()).toMatchObject({ state: "alive" });
		timers.advance(1);
		const seen = await watching.look();
		expect(seen).toMatchObject({ state: "silent", unchangedMs: 60_000 });
		expect(await watching.isOver(1)).toBe(false);
		// Another watcher has only begun to watch.
		expect(await watcher().look()).toMatchObject({ state: "alive" });
		await claim?.release();
	});

	test("stays alive as long as its holder beats", async () => {
		const holderTimers = manualTimers();
		const claim = await watcher(holderTimers).take(0);
		const timers = manualTimers();
		const watching = watcher(timers);
		for (let second = 0; second < 300; second += 10) {
			await watching.look();
			timers.advance(10_000);
			await holderTimers.tick(10_000);
			// The beat is on its way to the disk.
			await vi.waitFor(
				async () => expect(await watching.look()).toMatchObject({ state: "alive", unchangedMs: 0 }),
				{ timeout: 5000, interval: 5 },
			);
		}
		await claim?.release();
	});

	test("that nobody finished writing is respected for a lease, then taken over", async () => {
		await watcher()
			.take(0)
			.then((claim) => claim?.release());
		await writeFile(join(directory, "share", "claim.2"), "");
		const timers = manualTimers();
		const watching = watcher(timers);
		expect(await watching.look()).toMatchObject({ number: 2, state: "alive" });
		timers.advance(60_000);
		expect(await watching.look()).toMatchObject({ number: 2, state: "silent" });
	});

	test("is lost when everything is removed", async () => {
		const claim = await watcher().take(0);
		await rm(join(directory, "share"), { recursive: true });
		expect(await claim?.isLost()).toBe(true);
		await claim?.release();
		expect(await readdir(directory)).toEqual([]);
	});
});

test("whoever waits gets the claim of one that died, and nothing once all is done", async () => {
	const held = await watcher().take(0);
	await pretendElsewhere(1);
	const timers = manualTimers();
	let done = false;
	const options = { isDone: async () => done, everyMs: 5000, timers };
	const waiting = awaitClaim(watcher(timers), options);
	for (let second = 0; second <= 120; second += 5) await timers.tick(5000);
	const got = await waiting;
	expect(got).toMatchObject({ before: { state: "silent" }, claim: { number: 2 } });
	done = true;
	expect(await awaitClaim(watcher(timers), options)).toBeUndefined();
	await got?.claim.release();
	await held?.release();
});
