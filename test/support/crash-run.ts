import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Plan } from "../../src/plan/types.ts";
import { type FileSpan, weightSpans } from "./byte-set.ts";
import type { CrashPhase } from "./crash-story.ts";
import type { JobHub } from "./job-hub.ts";
import { startWorker, type WorkerEnd, type WorkerProcess } from "./job-rig.ts";
import { sharesHeldBy, sharesOf, spansLeft, spansLeftOf, spansOf } from "./job-journals.ts";

/** What jobs are run with. */
export interface CrashRig {
	readonly hub: JobHub;
	readonly program: string;
	readonly args: readonly string[];
	readonly env: { readonly [name: string]: string };
	/** By number of shares. */
	readonly plans: ReadonlyMap<number, Plan>;
	/** How long an undisturbed job of so many workers takes, milliseconds. */
	readonly jobMs: ReadonlyMap<number, number>;
}

/** What a phase did. */
export interface PhaseFacts {
	/** Weight bytes that were not written down when it began. */
	readonly left: readonly FileSpan[];
	/** Weight bytes that were asked for. */
	readonly fetched: readonly FileSpan[];
	/** What the dead had not written down of the shares they held; when that is not known, all of the shares that were theirs. */
	readonly lost: readonly FileSpan[];
	/** Of those that were not killed on purpose. */
	readonly survivors: readonly WorkerEnd[];
	readonly killed: number;
	/** Journals that are shorter than the program was told they durably are, after a power cut. */
	readonly broken: readonly string[];
}

/** Runs the workers of one phase until all have ended. */
export async function runPhase(rig: CrashRig, out: string, phase: CrashPhase): Promise<PhaseFacts> {
	const { hub } = rig;
	const planBefore = planOf(rig, out, phase.count);
	const left = spansLeft(out, planBefore);
	const before = hub.requests.length;
	const workers = Array.from({ length: phase.count }, (_, index) => start(rig, out, phase, index));
	const lost = await disturb(rig, out, phase, workers);
	const ends = await Promise.all(workers.map(({ ended }) => ended));
	rmSync(tokenOf(out), { force: true });
	await hub.quiet();
	const dead = ends.filter(({ signal }) => signal === "SIGKILL");
	const plan = planOf(rig, out, phase.count);
	return {
		left,
		fetched: weightSpans(hub.requests.slice(before), headersOf(plan)),
		lost: lost ?? ownShares(plan, phase, dead).flatMap((share) => spansOf(plan, share)),
		survivors: ends.filter(({ signal }) => signal !== "SIGKILL"),
		killed: dead.length,
		broken: brokenPromises(out),
	};
}

/** The plan of the job in `out`, or of the one that so many workers are going to begin. */
function planOf({ plans }: CrashRig, out: string, count: number): Plan {
	const plan = plans.get(sharesOf(out) ?? count);
	if (plan === undefined) throw new Error(`no plan of ${sharesOf(out)} shares`);
	return plan;
}

function headersOf(plan: Plan): ReadonlyMap<string, number> {
	return new Map(plan.source.files.map(({ path, headerBytes }) => [path, headerBytes]));
}

function ownShares(plan: Plan, { count }: CrashPhase, dead: readonly WorkerEnd[]): number[] {
	const shares = [...Array(plan.shares).keys()];
	return shares.filter((share) => dead.some(({ index }) => index === share % count));
}

function brokenPromises(out: string): readonly string[] {
	const path = `${out}.promised`;
	// Where the checkpoint is whole, nobody needs journals.
	if (!existsSync(path) || existsSync(join(out, ".metadata"))) return [];
	const promised = JSON.parse(readFileSync(path, "utf8")) as Record<string, number>;
	rmSync(path);
	return Object.entries(promised)
		.filter(([journal, bytes]) => !existsSync(journal) || statSync(journal).size < bytes)
		.map(([journal]) => journal);
}

/** Beside the checkpoint. */
function tokenOf(out: string): string {
	return `${out}.token`;
}

function start(rig: CrashRig, out: string, phase: CrashPhase, index: number): WorkerProcess {
	const { at, count } = phase;
	const crash = "crash" in at ? { ...at.crash, token: tokenOf(out) } : undefined;
	const args = phase.noTakeover ? [...rig.args, "--no-takeover"] : rig.args;
	return startWorker({ ...rig, args, out, index, count, crash, power: phase.power });
}

/** Kills whom the phase says, when it says. Returns what is known to be lost. */
async function disturb(
	{ jobMs, plans }: CrashRig,
	out: string,
	{ at, how, freeze, victims, count }: CrashPhase,
	workers: readonly WorkerProcess[],
): Promise<readonly FileSpan[] | undefined> {
	const dying = workers.filter(({ index }) => how === "all" || victims.includes(index));
	const others = workers.filter((worker) => !dying.includes(worker));
	if ("crash" in at) {
		for (const { child } of how === "all" ? workers : []) {
			child.once("exit", (_code, signal) => {
				if (signal === "SIGKILL") for (const worker of workers) worker.child.kill("SIGKILL");
			});
		}
		return undefined;
	}
	await wait(at.fraction * (jobMs.get(count) ?? 0));
	if (freeze) await Promise.all(others.map(stop));
	for (const { child } of dying) child.kill("SIGKILL");
	if (!freeze) return undefined;
	await Promise.all(dying.map(({ ended }) => ended));
	const plan = plans.get(sharesOf(out) ?? 0);
	const shares = sharesHeldBy(
		out,
		dying.map(({ child }) => child.pid ?? 0),
	);
	const lost = plan === undefined ? [] : shares.flatMap((share) => spansLeftOf(out, plan, share));
	for (const { child } of others) child.kill("SIGCONT");
	return lost;
}

/** Stops a process; what it had under way is done when it resolves. */
async function stop({ child }: WorkerProcess): Promise<void> {
	child.kill("SIGSTOP");
	while (child.exitCode === null && child.signalCode === null && !isStopped(child.pid ?? 0)) {
		await wait(1);
	}
}

function isStopped(pid: number): boolean {
	try {
		const tasks = `/proc/${pid}/task`;
		return readdirSync(tasks).every((task) => {
			const text = readFileSync(`${tasks}/${task}/stat`, "latin1");
			return /^[TZX]/.test(text.slice(text.lastIndexOf(")") + 2));
		});
	} catch {
		// It ended while it was looked at.
		return true;
	}
}
