import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type Intercept, type RequestRecord } from "../../src/demo/local-hub.ts";
import { inspectCheckpoint, type JobSummary } from "../../src/index.ts";
import { type CliResult, type CliRun, startCli } from "../support/run-cli.ts";

const MODEL = createDemoModel();
const WEIGHT_FILES = [...MODEL.files.keys()].filter((name) => name.endsWith(".safetensors"));

let root: string;
/** What one process makes of the model. */
let whole: string;
let out: string;
let count = 0;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-local-workers-"));
	whole = join(root, "whole");
	expect((await run({ flags: ["--out", whole] })).result.code).toBe(0);
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

beforeEach(() => {
	out = join(root, `out-${count++}`);
});

interface RunSettings {
	readonly flags: readonly string[];
	readonly env?: Readonly<Record<string, string>>;
	readonly intercept?: Intercept;
	/** Told of the process as soon as it runs. */
	readonly onStart?: (run: CliRun) => void;
}

/** Runs the built program against a Hub of its own. Small tiles: the model is many of them. */
async function run(
	settings: RunSettings,
): Promise<{ result: CliResult; requests: readonly RequestRecord[] }> {
	const { flags, env, intercept, onStart } = settings;
	await using hub = await createLocalHub({ repos: [MODEL], intercept });
	const mesh = ["--dp-shard=4", "--tp=2", "--ep=4"];
	const where = flags.includes("--out") ? [] : ["--out", out];
	const args = [MODEL.id, ...where, ...mesh, "--memory=16MiB", "--log-format=json"];
	const started = startCli([...args, ...flags], {
		HF_ENDPOINT: hub.endpoint,
		HF_HOME: join(root, "home"),
		...env,
	});
	onStart?.(started);
	return { result: await started.done, requests: [...hub.requests] };
}

/** How entries are spread over files depends on the number of workers; what they are does not. */
async function expectWhole(directory: string): Promise<void> {
	const [made, expected] = await Promise.all([directory, whole].map(inspectCheckpoint));
	expect(made?.problems).toEqual([]);
	expect(made?.tensors.map(({ fqn }) => fqn)).toEqual(expected?.tensors.map(({ fqn }) => fqn));
	expect(existsSync(join(directory, ".hf-stream-dcp"))).toBe(false);
}

interface LocalJobSummary {
	readonly outcome: string;
	readonly job: JobSummary;
	readonly workers: readonly { readonly worker: object; readonly outcome: string }[];
}

function summaryOf({ code, stdout, stderr }: CliResult): LocalJobSummary {
	expect(linesOf(stderr).filter(({ kind }) => kind === "error")).toEqual([]);
	expect(code).toBe(0);
	return JSON.parse(stdout) as LocalJobSummary;
}

interface Line {
	readonly kind: string;
	readonly message?: string;
	readonly [key: string]: unknown;
}

function linesOf(stderr: string): readonly Line[] {
	return stderr
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line) as Line);
}

function warningsOf({ stderr }: CliResult): readonly string[] {
	return linesOf(stderr).flatMap(({ kind, message }) =>
		kind === "warning" && message !== undefined ? [message] : [],
	);
}

/** Processes that a process has started. */
function childrenOf(pid: number | undefined): readonly number[] {
	const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
	return text.split(" ").filter(Boolean).map(Number);
}

async function until(isTrue: () => boolean): Promise<void> {
	while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Whether a process runs; one that has ended and was not collected does not. */
function isRunning(pid: number): boolean {
	try {
		return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
	} catch {
		return false;
	}
}

/** A Hub that does not send weights of one file, or of any, before it is told to. */
class Gate {
	/** Requests that wait. */
	waiting = 0;
	#isOpen = false;
	readonly #file: string;

	/** @param file - Its name; all files when it is left out. */
	constructor(file = "") {
		this.#file = file;
	}

	readonly intercept: Intercept = ({ record }, next) => {
		if (this.#isOpen || !isWeights(record) || !record.path.endsWith(this.#file)) next();
		else this.waiting++;
	};

	/** Sends what is asked for from now on. */
	open(): void {
		this.#isOpen = true;
	}
}

/** Headers are at the beginning of their files. */
function isWeights(record: RequestRecord): boolean {
	return record.origin === "cdn" && rangeStart(record) > 100_000;
}

function rangeStart({ range }: RequestRecord): number {
	return Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
}

describe("--workers", () => {
	test("processes of this machine write one checkpoint, with one log and one summary", async () => {
		const { result } = await run({ flags: ["--workers=3", "--log-interval=0.5"] });
		const { outcome, job, workers } = summaryOf(result);
		await expectWhole(out);
		expect(["committed", "others"]).toContain(outcome);
		expect(workers.map(({ worker }) => worker)).toEqual(
			[0, 1, 2].map((index) => ({ index, count: 3, launcher: "flag" })),
		);
		expect(workers.filter((worker) => worker.outcome === "committed")).toHaveLength(1);
		const sum = job.workers.reduce((total, worker) => total + worker.fetchedBytes, 0);
		expect(sum).toBe(job.fetchedBytes);
		expect(warningsOf(result)).toEqual([]);
		expect(new Set(linesOf(result.stderr).map(({ kind }) => kind))).toEqual(new Set(["progress"]));
	});

	test("a worker that is killed is a warning: the others do its work", async () => {
		const gate = new Gate();
		const killFirst = async ({ child }: CliRun): Promise<void> => {
			await until(() => gate.waiting > 0);
			const [first = 0] = childrenOf(child.pid);
			process.kill(first, "SIGKILL");
			await until(() => !isRunning(first));
			gate.open();
		};
		const { result } = await run({
			flags: ["--workers=2", "--lease=2"],
			intercept: gate.intercept,
			onStart: (started) => void killFirst(started),
		});
		const { job } = summaryOf(result);
		await expectWhole(out);
		expect(warningsOf(result).at(-1)).toBe("worker 0 was ended by SIGKILL; others did its work");
		expect(job.takeovers).toBeGreaterThan(0);
	});

	test.each([
		["SIGINT", 130],
		["SIGTERM", 143],
	] as const)("%s stops all of them, and any number goes on", async (signal, exitCode) => {
		const gate = new Gate(WEIGHT_FILES.at(-1));
		const { result } = await run({
			flags: ["--workers=2"],
			intercept: gate.intercept,
			onStart: ({ child }) => void until(() => gate.waiting > 0).then(() => child.kill(signal)),
		});
		expect(result.code).toBe(exitCode);
		expect(result.stdout).toBe("");
		expect(existsSync(join(out, ".metadata"))).toBe(false);
		expect(warningsOf(result).at(0)).toContain("stopping 2 workers");
		summaryOf((await run({ flags: ["--workers=3"] })).result);
		await expectWhole(out);
	});

	test("without the process that started them, workers stop by themselves", async () => {
		const gate = new Gate(WEIGHT_FILES.at(-1));
		let workers: readonly number[] = [];
		const orphan = async ({ child }: CliRun): Promise<void> => {
			await until(() => gate.waiting > 0);
			workers = childrenOf(child.pid);
			child.kill("SIGKILL");
		};
		const { result } = await run({
			flags: ["--workers=2"],
			intercept: gate.intercept,
			onStart: (started) => void orphan(started),
		});
		expect(result.code).toBe(null);
		expect(workers).toHaveLength(2);
		await until(() => !workers.some(isRunning));
		summaryOf((await run({ flags: ["--workers=2"] })).result);
		await expectWhole(out);
	});

	test("what all workers fail with is said once, with its code", async () => {
		const intercept: Intercept = ({ record, response }, next) => {
			if (isWeights(record)) response.writeHead(403).end("SignatureDoesNotMatch");
			else next();
		};
		const { result } = await run({ flags: ["--workers=2"], intercept });
		expect(result.code).toBe(3);
		const errors = linesOf(result.stderr).filter(({ kind }) => kind === "error");
		expect(errors).toHaveLength(1);
		expect(errors[0]).toMatchObject({ code: "HTTP_STATUS", exitCode: 3 });
		expect(existsSync(join(out, ".metadata"))).toBe(false);
	});
});

describe("who I am", () => {
	test("a worker of a job that is finished says so", async () => {
		summaryOf((await run({ flags: ["--workers=2"] })).result);
		const { result, requests } = await run({ flags: ["--worker=1/2"] });
		expect(JSON.parse(result.stdout)).toMatchObject({ outcome: "found" });
		expect(result.code).toBe(0);
		expect(requests).toEqual([]);
	});

	test("the launcher's variables make it a worker", async () => {
		const env = (task: number): Record<string, string> => ({
			SLURM_STEP_ID: "0",
			SLURM_PROCID: String(task),
			SLURM_STEP_NUM_TASKS: "2",
		});
		const outcomes = await Promise.all(
			[0, 1].map(async (task) => {
				const { result } = await run({ flags: [], env: env(task) });
				expect(result.code).toBe(0);
				return JSON.parse(result.stdout) as { worker: object; outcome: string };
			}),
		);
		expect(outcomes.map(({ worker }) => worker)).toEqual([
			{ index: 0, count: 2, launcher: "slurm" },
			{ index: 1, count: 2, launcher: "slurm" },
		]);
		await expectWhole(out);
	});

	test("half of them are an error that shows what was seen, before anything is written", async () => {
		const { result } = await run({ flags: [], env: { RANK: "1" } });
		expect(result.code).toBe(2);
		expect(linesOf(result.stderr).at(-1)).toMatchObject({
			kind: "error",
			code: "OPTIONS_INVALID",
			message: expect.stringContaining("RANK=1") as unknown,
		});
		expect(existsSync(out)).toBe(false);
	});
});
