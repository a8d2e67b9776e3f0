import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import type { Plan } from "../../src/plan/types.ts";
import { type FileSpan, spanOf } from "../support/byte-set.ts";
import { createHosts, type HostProcess, type Hosts, whyNoHosts } from "../support/hosts.ts";
import { expectEnded, toTheMiddle } from "../support/job-fixture.ts";
import { createHeldHub, type HeldHub } from "../support/held-hub.ts";
import { plansFor } from "../support/job-plan.ts";
import { BUSY_ARGS, endOf, fingerprint, startWorker, type WorkerEnd } from "../support/job-rig.ts";
import { spansOf } from "../support/job-journals.ts";
import { copyQuickProgram } from "../support/quick-program.ts";

const WORKERS = 3;
const LEASE_SECONDS = 2;
const MODEL = createDemoModel();
const ARGS = [MODEL.id, ...BUSY_ARGS, `--lease=${LEASE_SECONDS}`, "--log-format=json"];

const LINKS = ["hub", "files"] as const;

const reason = whyNoHosts();
if (reason !== undefined && process.env["CI"] !== undefined) throw new Error(reason);

describe.skipIf(reason !== undefined)(`hosts that are really apart (${reason ?? "here"})`, () => {
	let root: string;
	let hosts: Hosts;
	let hub: HeldHub;
	let plan: Plan;
	let program: string;
	let reference: ReturnType<typeof fingerprint>;
	let jobs = 0;
	const running: HostProcess[] = [];

	beforeAll(async () => {
		root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-hosts-"));
		mkdirSync(join(root, "shared"));
		mkdirSync(join(root, "mount"));
		program = copyQuickProgram(join(root, "program"));
		hosts = await createHosts({
			count: WORKERS,
			shared: join(root, "shared"),
			mountPoint: join(root, "mount"),
		});
		const { hubAddress } = hosts;
		hub = await createHeldHub(MODEL, {
			host: hubAddress,
			cdnHost: hubAddress,
			kindOf(record, { socket }) {
				const { file, start } = spanOf(record);
				const isOf = (span: FileSpan): boolean =>
					file.endsWith(span.file) && span.start <= start && start < span.end;
				const share = [...Array(WORKERS).keys()].find((one) => spansOf(plan, one).some(isOf));
				return kindOf(share ?? -1, socket.remoteAddress ?? "");
			},
		});
		const plans = await plansFor(
			{
				repo: MODEL.id,
				environment: environment(),
				parallelism: { dpShard: 4, tp: 2, ep: 4 },
				memoryBytes: 16 * 2 ** 20,
			},
			[WORKERS],
		);
		plan = plans.get(WORKERS)!;
		const out = join(root, "undisturbed");
		const ends = await Promise.all(
			Array.from({ length: WORKERS }, (_, index) => {
				const options = { program, args: ARGS, env: environment(), out, index, count: WORKERS };
				return startWorker(options).ended;
			}),
		);
		expectEnded(ends, 0);
		reference = fingerprint(out);
	});

	afterEach(async () => {
		// After a failure too, the next job begins with whole cables and without old workers.
		for (const host of hosts.hosts) for (const link of LINKS) host.plug(link, "up");
		hub.release();
		for (const worker of running.splice(0)) {
			const { exitCode, signalCode } = worker.child;
			if (exitCode === null && signalCode === null) worker.signal("SIGKILL");
		}
		await hub.quiet();
	});

	afterAll(async () => {
		await hosts?.[Symbol.asyncDispose]();
		await hub?.[Symbol.asyncDispose]();
		rmSync(root, { recursive: true, force: true });
	});

	/** @param stallSeconds - How long a worker waits for a Hub that says nothing. */
	function environment(stallSeconds = 60): { readonly [name: string]: string } {
		return {
			HF_ENDPOINT: hub.endpoint,
			HF_HOME: join(root, "home"),
			HF_HUB_DOWNLOAD_TIMEOUT: String(stallSeconds),
		};
	}

	function addressOf(index: number): string {
		return hosts.hubAddress.replace(/\d+$/, String(10 + index));
	}

	/** Requests of a host for a share. */
	function kindOf(share: number, address: string): string {
		return `share ${share} by ${address}`;
	}

	/** A job of one worker on each host; its directory as this side sees it. */
	async function startJob(stallSeconds?: number): Promise<{
		readonly out: string;
		readonly workers: readonly HostProcess[];
		readonly ends: readonly Promise<WorkerEnd>[];
		/** What each has written to stderr so far. */
		readonly said: readonly string[];
	}> {
		const name = `job-${jobs++}`;
		const started = await Promise.all(
			hosts.hosts.map((host, index) => {
				const out = join(root, "mount", name);
				const worker = ["--out", out, "--worker", `${index}/${WORKERS}`];
				return host.start(
					[process.execPath, program, ...ARGS, ...worker],
					environment(stallSeconds),
				);
			}),
		);
		running.push(...started);
		const said = started.map(() => "");
		for (const [index, { child }] of started.entries()) {
			child.stderr?.on("data", (text: string) => (said[index] += text));
		}
		return {
			out: join(root, "shared", name),
			workers: started,
			said,
			ends: started.map(({ child }, index) => endOf(index, child)),
		};
	}

	/** Resolves when the worker of `share` has written down some of it, and waits for the rest. */
	function inTheMiddle(out: string, share: number): Promise<void> {
		return toTheMiddle({ hub, kind: kindOf(share, addressOf(share)), out, plan, share });
	}

	function expectWhole(out: string): void {
		expect(fingerprint(out)).toEqual(reference);
		expect(readdirSync(out).toSorted()).toEqual(
			[...Object.keys(reference), "summary.json"].toSorted(),
		);
	}

	test("one is cut off in the middle, the others finish, it comes back and does no harm", async () => {
		hub.hold(kindOf(0, addressOf(0)), 4);
		const { out, ends } = await startJob();
		await inTheMiddle(out, 0);
		const [lost] = hosts.hosts;
		lost!.plug("files", "down");
		lost!.plug("hub", "down");
		const others = await Promise.all(ends.slice(1));
		expectEnded(others, 0);
		expect(others.map(({ stderr }) => stderr).join("")).toContain("takes over share 0");
		expectWhole(out);

		lost!.plug("files", "up");
		lost!.plug("hub", "up");
		hub.release(kindOf(0, addressOf(0)));
		const back = await ends[0]!;
		expect(back.code, back.stderr).toBe(0);
		expectWhole(out);
	});

	test("one is frozen for longer than its lease and comes back", async () => {
		hub.hold(kindOf(0, addressOf(0)), 4);
		const { out, ends, workers } = await startJob();
		await inTheMiddle(out, 0);
		workers[0]!.signal("SIGSTOP");
		const others = await Promise.all(ends.slice(1));
		expectEnded(others, 0);
		expectWhole(out);

		hub.release(kindOf(0, addressOf(0)));
		workers[0]!.signal("SIGCONT");
		const back = await ends[0]!;
		expect(back.code, back.stderr).toBe(0);
		expectWhole(out);
	});

	test("one comes back while another works on its share, and leaves it to that one", async () => {
		hub.hold(kindOf(0, addressOf(0)), 4);
		for (const index of [1, 2]) hub.hold(kindOf(0, addressOf(index)), 0);
		const { out, ends, workers, said } = await startJob();
		await inTheMiddle(out, 0);
		workers[0]!.signal("SIGSTOP");
		// Whoever takes share 0 over is held up in the middle of it.
		while (![1, 2].some((index) => hub.isHolding(kindOf(0, addressOf(index))))) await wait(10);
		hub.release(kindOf(0, addressOf(0)));
		workers[0]!.signal("SIGCONT");
		while (!said[0]!.includes("share 0 is left to the worker that took it over")) await wait(10);
		hub.release();
		expectEnded(await Promise.all(ends), 0);
		expectWhole(out);
	});

	test("one whose machine is gone is missed after its lease", async () => {
		hub.hold(kindOf(0, addressOf(0)), 4);
		const { out, ends, workers } = await startJob();
		await inTheMiddle(out, 0);
		workers[0]!.signal("SIGKILL");
		const started = performance.now();
		const others = await Promise.all(ends.slice(1));
		expectEnded(others, 0);
		// Process numbers of another machine say nothing.
		expect(performance.now() - started).toBeGreaterThan(1000 * LEASE_SECONDS * 0.8);
		expectWhole(out);
	});

	test("one that loses the Hub alone gives its share back and fails", async () => {
		hub.hold(kindOf(0, addressOf(0)), 4);
		const { out, ends } = await startJob(1);
		await inTheMiddle(out, 0);
		const [lost] = hosts.hosts;
		lost!.plug("hub", "down");
		hub.release(kindOf(0, addressOf(0)));
		const [cut, ...others] = await Promise.all(ends);
		expect(cut!.code, cut!.stderr).toBe(3);
		expect(cut!.stderr).toContain("NETWORK_FAILED");
		expectEnded(others, 0);
		expect(others.map(({ stderr }) => stderr).join("")).toContain("takes over share 0");
		expectWhole(out);
		lost!.plug("hub", "up");
	});
});
