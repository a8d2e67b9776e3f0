import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { MANIFEST_NAME } from "../../src/manifest/manifest.ts";
import { bytesOutside, countsOf, sumOf } from "../support/byte-set.ts";
import { type CrashRig, type PhaseFacts, runPhase } from "../support/crash-run.ts";
import {
	type CrashPhase,
	type CrashStory,
	tellPowerCut,
	tellStory,
} from "../support/crash-story.ts";
import { createJobHub, type JobHub } from "../support/job-hub.ts";
import { plansFor } from "../support/job-plan.ts";
import { BUSY_ARGS, fingerprint, startWorker } from "../support/job-rig.ts";
import { copyQuickProgram } from "../support/quick-program.ts";

/** Runs that count, and the seed of the first: `CRASH_RUNS=1 CRASH_SEED=42` repeats story 42, `CRASH_RUNS=250` is for changes of `src/job`. */
const RUNS = Number(process.env["CRASH_RUNS"] ?? 120);
/** Of these, runs in which a worker dies with its machine. */
const POWER_CUTS = Math.ceil(RUNS / 8);
const FIRST_SEED = Number(process.env["CRASH_SEED"] ?? 1);

/** Runs side by side; each has a Hub of its own, which counts for it alone. */
const LANES = 3;

const MODEL = createDemoModel();
const COUNTS = [1, 2, 3, 4];
const ARGS = [MODEL.id, ...BUSY_ARGS, "--lease=5", "--quiet"];

const PEACE: Omit<CrashPhase, "count"> = {
	victims: [],
	how: "some",
	freeze: false,
	at: { fraction: 0 },
	noTakeover: false,
};

let root: string;
let jobs = 0;
let lanes: (CrashRig & { readonly hub: JobHub })[];
/** Of the undisturbed checkpoint, by the number of workers that began it. */
const references = new Map<number, ReturnType<typeof fingerprint>>();
/** How often an undisturbed worker comes by each point where it can be killed. */
const points = new Map<string, number>();
const totals = { runs: 0, workers: 0, exact: 0, power: 0, refetched: 0, fetched: 0 };

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-crashes-"));
	const program = copyQuickProgram(join(root, "program"));
	lanes = [];
	const jobMs = new Map<number, number>();
	for (let lane = 0; lane < LANES; lane++) {
		const hub = await createJobHub(MODEL);
		const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
		const plan = {
			repo: MODEL.id,
			environment: env,
			parallelism: { dpShard: 4, tp: 2, ep: 4 },
			memoryBytes: 16 * 2 ** 20,
		};
		const plans = await plansFor(plan, COUNTS);
		lanes.push({ hub, program, args: ARGS, env, plans, jobMs });
	}
	for (const count of COUNTS) jobMs.set(count, await runUndisturbed(lanes[0]!, count));
}, 120_000);

afterAll(async () => {
	for (const { hub } of lanes) await hub[Symbol.asyncDispose]();
	rmSync(root, { recursive: true, force: true });
	const { runs, workers, exact, power, refetched, fetched } = totals;
	console.log(
		`${runs} runs from seed ${FIRST_SEED} on: ${workers} workers killed, ${exact} at one of ${points.size} exact points, ${power} with their machine; ${((100 * refetched) / (fetched - refetched)).toFixed(1)} % fetched again`,
	);
});

/** Makes the reference for jobs that so many workers begin. Returns how long it took, milliseconds. */
async function runUndisturbed(rig: CrashRig, count: number): Promise<number> {
	const out = join(root, `undisturbed-${count}`);
	const started = performance.now();
	const ends = await Promise.all(
		Array.from({ length: count }, (_, index) => {
			const counts = join(root, `counts-${count}-${index}.json`);
			return startWorker({ ...rig, out, index, count, counts }).ended;
		}),
	);
	const ms = performance.now() - started;
	expect(ends.map(({ code, stderr }) => [code, stderr])).toEqual(ends.map(() => [0, ""]));
	references.set(count, fingerprint(out));
	for (let index = 0; index < count; index++) {
		const text = readFileSync(join(root, `counts-${count}-${index}.json`), "utf8");
		for (const [point, met] of Object.entries(JSON.parse(text) as Record<string, number>)) {
			points.set(point, Math.max(met, points.get(point) ?? 0));
		}
	}
	return ms;
}

/** Nothing that was written down is fetched again, and nothing twice but what the dead had in flight. */
function expectBounded({ fetched, left, lost }: PhaseFacts): void {
	expect(bytesOutside(fetched, left), "bytes fetched that were written down").toBe(0);
	const twice = countsOf(fetched).filter(({ count }) => count > 1);
	expect(bytesOutside(twice, lost), "bytes fetched twice that nobody lost").toBe(0);
	expect(twice.filter(({ count }) => count > 2)).toEqual([]);
}

/** Whoever works undisturbed fetches all that was not written down, once. */
function expectExact({ fetched, left }: PhaseFacts): void {
	expect(bytesOutside(fetched, left), "bytes fetched that were written down").toBe(0);
	expect(bytesOutside(left, fetched), "bytes that nobody fetched").toBe(0);
	expect(sumOf(fetched), "bytes fetched").toBe(sumOf(left));
}

function expectEnded({ survivors }: PhaseFacts): void {
	for (const { index, code, stderr } of survivors)
		expect(code, `worker ${index}: ${stderr}`).toBe(0);
}

/** Plays a story to its end. Returns how many workers it killed. */
async function playStory(rig: CrashRig, story: CrashStory): Promise<number> {
	const out = join(root, `run-${jobs++}`);
	const total = rig.plans.get(1)!.totals.fetchBytes;
	let fetched = 0;
	let killed = 0;
	for (const phase of story.phases) {
		const facts = await runPhase(rig, out, phase);
		expectBounded(facts);
		expect(facts.broken, "journals that were durable").toEqual([]);
		fetched += sumOf(facts.fetched);
		killed += facts.killed;
		if (facts.killed > 0 && "crash" in phase.at) totals.exact++;
		if (facts.killed > 0 && phase.power !== undefined) totals.power++;
		expectEnded(facts);
		if (facts.killed === 0 || (phase.how === "some" && !phase.noTakeover)) {
			expect(existsSync(join(out, ".metadata"))).toBe(true);
		}
	}
	const last = await runPhase(rig, out, { ...PEACE, count: story.finalCount });
	expectExact(last);
	expectEnded(last);
	totals.fetched += fetched + sumOf(last.fetched);
	totals.refetched += fetched + sumOf(last.fetched) - total;
	const { shares } = JSON.parse(readFileSync(join(out, "summary.json"), "utf8")) as {
		shares: number;
	};
	expect(fingerprint(out)).toEqual(references.get(shares));
	const others = readdirSync(out).filter((name) => !/^__|^\.metadata$/.test(name));
	expect(others.toSorted()).toEqual([MANIFEST_NAME, "summary.json"]);
	rmSync(out, { recursive: true });
	return killed;
}

/** Plays stories until so many have killed somebody. Returns what went wrong, with what is needed to repeat it. */
async function playAll(runs: number, tell: (seed: number) => CrashStory): Promise<string> {
	let seed = FIRST_SEED;
	let played = 0;
	const failures: string[] = [];
	const work = async (rig: CrashRig): Promise<void> => {
		while (played < runs) {
			const story = tell(seed++);
			try {
				const killed = await playStory(rig, story);
				totals.workers += killed;
				// Not everybody comes by the point where he was to die.
				if (killed > 0) played++;
			} catch (error) {
				played++;
				failures.push(`seed ${story.seed}: ${JSON.stringify(story)}\n${(error as Error).message}`);
			}
		}
	};
	await Promise.all(lanes.map(work));
	totals.runs += played;
	return failures.join("\n\n");
}

test(`${RUNS - POWER_CUTS} runs in which workers are killed end with the checkpoint of an undisturbed one`, async () => {
	expect(await playAll(RUNS - POWER_CUTS, (seed) => tellStory(seed, points))).toBe("");
}, 900_000);

test(`${POWER_CUTS} runs in which a machine loses its power do so, too`, async () => {
	expect(await playAll(POWER_CUTS, (seed) => tellPowerCut(seed, points))).toBe("");
}, 300_000);
