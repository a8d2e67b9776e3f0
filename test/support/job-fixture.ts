import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { expect } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import type { Plan } from "../../src/plan/types.ts";
import { type FileSpan, spanOf, sumOf, weightSpans } from "./byte-set.ts";
import { createHeldHub, type HeldHub } from "./held-hub.ts";
import { spansLeft, spansLeftOf, spansOf } from "./job-journals.ts";
import { plansFor } from "./job-plan.ts";
import { fingerprint, startWorker, type WorkerEnd, type WorkerProcess } from "./job-rig.ts";
import { copyQuickProgram } from "./quick-program.ts";

const MODEL = createDemoModel();
const MESH = ["--dp-shard", "4", "--tp", "2", "--ep", "4"];
/** The smallest memory makes the most tiles. */
const MEMORY_BYTES = 16 * 2 ** 20;
/** Longer than a worker of an overloaded machine is silent; the dead of the same machine are known at once. */
const LEASE_SECONDS = 5;
/** Weight requests of each share that are answered before the rest is held. */
const ANSWERED = 4;
/** Time for what is finished to be written down, before another request is answered. */
const STEP_MS = 100;

/** How a worker differs from the others of the fixture's job. */
export interface StartOptions {
	/** @default that of the fixture */
	readonly count?: number;
	/** In place of the mesh. */
	readonly args?: readonly string[];
	readonly env?: { readonly [name: string]: string };
}

/** A model, a Hub of its own that can hold a job in its middle, and the program; for tests of one job after the other. */
export interface JobFixture extends AsyncDisposable {
	readonly root: string;
	readonly hub: HeldHub;
	/** Of a job that {@link count} workers begin. */
	readonly plan: Plan;
	readonly program: string;
	readonly count: number;
	/** Directory of the current job. */
	readonly out: string;
	/** Of its undisturbed checkpoint. */
	readonly reference: ReturnType<typeof fingerprint>;
	/** Goes on to a fresh directory. */
	next(): void;
	commandOf(index: number, options?: StartOptions): readonly string[];
	environmentOf(options?: StartOptions): { readonly [name: string]: string };
	start(index: number, options?: StartOptions): WorkerProcess;
	startAll(options?: StartOptions): readonly WorkerProcess[];
	/** Makes the Hub answer a few requests for each share and hold the rest. */
	hold(): void;
	/** Resolves when the Hub holds what each of these shares waits for and some of each is written down. */
	inTheMiddle(shares: readonly number[]): Promise<unknown>;
	/** The directory holds the whole checkpoint and nothing else. */
	expectWhole(): void;
	/** Runs the job to its end; it fetches what was not written down, once. */
	expectResumes(count?: number): Promise<void>;
	/** Weight bytes that were asked for since `firstRequest`. */
	fetchedSince(firstRequest: number): readonly FileSpan[];
}

/** Starts the Hub and makes the reference. */
export async function createJobFixture(count: number): Promise<JobFixture> {
	const root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-job-"));
	const program = copyQuickProgram(join(root, "program"));
	let spans: readonly (readonly FileSpan[])[] = [];
	const kindOf = (share: number): string => `share ${share}`;
	const hub = await createHeldHub(MODEL, {
		kindOf(record) {
			const asked = spanOf(record);
			return kindOf(
				spans.findIndex((own) =>
					own.some(
						({ file, start, end }) =>
							record.path.endsWith(file) && start <= asked.start && asked.start < end,
					),
				),
			);
		},
	});
	const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	const inputs = {
		repo: MODEL.id,
		environment,
		parallelism: { dpShard: 4, tp: 2, ep: 4 },
		memoryBytes: MEMORY_BYTES,
	};
	const plan = (await plansFor(inputs, [count])).get(count)!;
	const shares = [...Array(count).keys()];
	spans = shares.map((share) => spansOf(plan, share));
	let jobs = 0;
	let out = join(root, "undisturbed");
	let reference: ReturnType<typeof fingerprint> = {};

	const fixture: JobFixture = {
		root,
		hub,
		plan,
		program,
		count,
		get out() {
			return out;
		},
		get reference() {
			return reference;
		},
		next: () => void (out = join(root, `job-${jobs++}`)),
		commandOf: (_index, { args = MESH } = {}) => [
			MODEL.id,
			...args,
			"--memory",
			String(MEMORY_BYTES),
			"--threads",
			"1",
			"--lease",
			String(LEASE_SECONDS),
			"--log-format",
			"json",
		],
		environmentOf: ({ env } = {}) => ({ ...environment, ...env }),
		start(index, options = {}) {
			const args = fixture.commandOf(index, options);
			const env = fixture.environmentOf(options);
			return startWorker({ program, args, env, out, index, count: options.count ?? count });
		},
		startAll: (options = {}) =>
			Array.from({ length: options.count ?? count }, (_, index) => fixture.start(index, options)),
		hold() {
			for (const share of shares) hub.hold(kindOf(share), ANSWERED);
		},
		inTheMiddle: (wanted) =>
			Promise.all(
				wanted.map((share) => toTheMiddle({ hub, kind: kindOf(share), out, plan, share })),
			),
		expectWhole() {
			expect(fingerprint(out)).toEqual(reference);
			const names = [...Object.keys(reference), "summary.json"];
			expect(readdirSync(out).toSorted()).toEqual(names.toSorted());
		},
		async expectResumes(workers = count) {
			const left = spansLeft(out, plan);
			expect(sumOf(left)).toBeGreaterThan(0);
			expect(sumOf(left)).toBeLessThan(plan.totals.fetchBytes);
			const before = hub.requests.length;
			expectEnded(await endsOf(fixture.startAll({ count: workers })), 0);
			expect(fixture.fetchedSince(before).toSorted(bySpan)).toEqual(left.toSorted(bySpan));
			fixture.expectWhole();
		},
		fetchedSince: (first) =>
			weightSpans(
				hub.requests.slice(first),
				new Map(plan.source.files.map((file) => [file.path, file.headerBytes])),
			),
		async [Symbol.asyncDispose]() {
			await hub[Symbol.asyncDispose]();
			rmSync(root, { recursive: true, force: true });
		},
	};
	expectEnded(await endsOf(fixture.startAll()), 0);
	reference = fingerprint(out);
	return fixture;
}

/**
 * Resolves when a share is begun, written down in part, and the Hub holds its requests: after as many answers as that takes, which
 * depends on how fast the disk is.
 */
export async function toTheMiddle({
	hub,
	kind,
	out,
	plan,
	share,
}: {
	readonly hub: HeldHub;
	readonly kind: string;
	readonly out: string;
	readonly plan: Plan;
	readonly share: number;
}): Promise<void> {
	const all = sumOf(spansOf(plan, share));
	for (;;) {
		await wait(STEP_MS);
		if (!hub.isHolding(kind)) continue;
		if (sumOf(spansLeftOf(out, plan, share)) < all) return;
		hub.step(kind);
	}
}

function bySpan(a: FileSpan, b: FileSpan): number {
	return a.file.localeCompare(b.file) || a.start - b.start;
}

/** How workers ended, when all have. */
export function endsOf(workers: readonly WorkerProcess[]): Promise<readonly WorkerEnd[]> {
	return Promise.all(workers.map(({ ended }) => ended));
}

/** All ended with this exit code. */
export function expectEnded(ends: readonly WorkerEnd[], code: number): void {
	for (const end of ends) expect(end.code, `worker ${end.index}: ${end.stderr}`).toBe(code);
}

/** The error that a worker ended with: its last line on stderr. */
export function errorOf({ stderr }: WorkerEnd): {
	readonly code: string;
	readonly message: string;
	readonly hint?: string;
} {
	const last = stderr.trim().split("\n").at(-1) ?? "";
	return JSON.parse(last) as ReturnType<typeof errorOf>;
}

/** The warnings of workers, in one text. */
export function warningsOf(ends: readonly WorkerEnd[]): string {
	return ends.map(({ stderr }) => stderr).join("\n");
}
