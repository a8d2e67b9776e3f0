import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type Intercept, type RequestRecord } from "../../src/demo/local-hub.ts";
import { STATE_NAME } from "../../src/core/checkpoint.ts";
import type { ConvertSummary, ProgressEvent } from "../../src/index.ts";
import { checkpointFiles, done, isUnfinished, journalled } from "../support/job-state.ts";
import { type CliResult, type CliRun, startCli } from "../support/run-cli.ts";

const MODEL = createDemoModel();
const WEIGHT_FILES = [...MODEL.files.keys()].filter((name) => name.endsWith(".safetensors"));
const isRoot = process.getuid?.() === 0;

const LAYOUTS = {
	"fsdp 4 × tp 2, ep 4": ["--dp-shard=4", "--tp=2", "--ep=4"],
	"one rank": [],
	"hf, fsdp 3": ["--target=hf", "--dp-shard=3"],
	"hsdp 2 × 2, fp32": ["--dp-replicate=2", "--dp-shard=2", "--dtype=float32"],
} as const;
const MESH = LAYOUTS["fsdp 4 × tp 2, ep 4"];

let root: string;
/** A fresh directory for each test's checkpoint. */
let out: string;
let count = 0;

beforeAll(() => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-threads-"));
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

beforeEach(() => {
	out = join(root, `out-${count++}`);
});

/** A run and the requests that its Hub saw. */
interface Observed {
	readonly result: CliResult;
	readonly requests: readonly RequestRecord[];
}

interface RunSettings {
	readonly directory?: string;
	readonly threads: number;
	readonly mesh?: readonly string[];
	readonly repo?: string;
	readonly flags?: readonly string[];
	readonly intercept?: Intercept;
	readonly env?: Readonly<Record<string, string>>;
	/** Told of the process as soon as it runs. */
	readonly onStart?: (run: CliRun) => void;
}

/** Runs the built program against a Hub of its own. Small tiles: the model is many of them. */
async function run(settings: RunSettings): Promise<Observed> {
	const { directory = out, threads, mesh = MESH, flags = [], intercept } = settings;
	await using hub = await createLocalHub({ repos: [MODEL], intercept });
	const args = [settings.repo ?? MODEL.id, "--out", directory, ...mesh, `--threads=${threads}`];
	const started = startCli([...args, "--memory=16MiB", "--log-format=json", ...flags], {
		HF_ENDPOINT: hub.endpoint,
		HF_HOME: join(root, "home"),
		...settings.env,
	});
	settings.onStart?.(started);
	return { result: await started.done, requests: [...hub.requests] };
}

function summaryOf({ result }: Observed): ConvertSummary {
	expect(result.stderr.split("\n").filter((line) => line.includes('"error"'))).toEqual([]);
	expect(result.code).toBe(0);
	return JSON.parse(result.stdout) as ConvertSummary;
}

function expectSame(directory: string, expected: string): void {
	expect(checkpointFiles(directory)).toEqual(checkpointFiles(expected));
	for (const name of checkpointFiles(expected)) {
		const isSame = readFileSync(join(directory, name)).equals(readFileSync(join(expected, name)));
		expect(isSame, name).toBe(true);
	}
}

/** Where the data of each weight file begins. */
const DATA_BEGINS = new Map(
	WEIGHT_FILES.map((name) => {
		const bytes = Buffer.from(MODEL.files.get(name) ?? []);
		return [name, 8 + Number(bytes.readBigUInt64LE())];
	}),
);

/** What a ranged GET of weights asks for; `undefined` for every other request, those for headers included. */
function weightsOf({ origin, method, path, range }: RequestRecord): Weights | undefined {
	const file = path.split("/").at(-1) ?? "";
	const [, start, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
	if (origin !== "cdn" || method !== "GET" || start === undefined) return undefined;
	if (Number(start) < (DATA_BEGINS.get(file) ?? 0)) return undefined;
	return { file, start: Number(start), end: Number(last) + 1 };
}

interface Weights {
	readonly file: string;
	readonly start: number;
	readonly end: number;
}

/** Source bytes that were served, after proof that none was served twice. */
function servedOnce(requests: readonly RequestRecord[]): number {
	const ranges = requests.map(weightsOf).filter((range) => range !== undefined);
	ranges.sort((a, b) => a.file.localeCompare(b.file) || a.start - b.start);
	for (const [i, range] of ranges.entries()) {
		const next = ranges[i + 1];
		if (next?.file === range.file) expect(range.end).toBeLessThanOrEqual(next.start);
	}
	return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Requests that tell what there is: the listing, headers, small files. */
function asksWhatThereIs(requests: readonly RequestRecord[]): RequestRecord[] {
	return requests.filter(
		(record) =>
			weightsOf(record) === undefined &&
			!(record.method === "HEAD" && WEIGHT_FILES.some((name) => record.path.endsWith(name))),
	);
}

describe.each(Object.entries(LAYOUTS))("%s", (name, mesh) => {
	const whole = (): string => join(root, `whole ${name}`);
	let alone: Observed;
	beforeAll(async () => {
		alone = await run({ directory: whole(), threads: 1, mesh });
		expect(summaryOf(alone).threads).toHaveLength(1);
	});

	test.each([2, 3, 5])(
		"%i threads write the same bytes and fetch each byte once",
		async (threads) => {
			const observed = await run({ threads, mesh });
			const summary = summaryOf(observed);
			expectSame(out, whole());
			expect(summary.threadsReason).toBe("asked");
			expect(summary.threads).toHaveLength(threads);
			const { fetchBytes, requests } = summary.totals;
			const sum = (key: "fetchedBytes" | "requests" | "entries"): number =>
				summary.threads.reduce((total, thread) => total + thread[key], 0);
			expect(sum("fetchedBytes")).toBe(fetchBytes);
			expect(sum("requests")).toBe(requests);
			expect(sum("entries")).toBe(summary.totals.entries);
			expect(summary).toMatchObject({ fetchedBytes: fetchBytes, requests, retries: 0 });
			// Everybody had something to do, and nobody asked again for what was known.
			expect(summary.threads.every((thread) => thread.fetchedBytes > 0)).toBe(true);
			expect(servedOnce(observed.requests)).toBe(servedOnce(alone.requests));
			const asked = asksWhatThereIs(observed.requests).map(({ path, range }) => `${path} ${range}`);
			const expected = asksWhatThereIs(alone.requests).map(({ path, range }) => `${path} ${range}`);
			expect(asked.toSorted()).toEqual(expected.toSorted());
		},
	);
});

test("a local directory is read by several threads, too", async () => {
	const repo = join(root, "model");
	mkdirSync(repo);
	for (const [name, bytes] of MODEL.files) writeFileSync(join(repo, name), bytes);
	summaryOf(await run({ repo, threads: 1, directory: join(root, "from-directory") }));
	const observed = await run({ repo, threads: 3 });
	const summary = summaryOf(observed);
	expect(summary.fetchedBytes).toBe(summary.totals.fetchBytes);
	expect(summary.threads).toHaveLength(3);
	expect(observed.requests).toEqual([]);
	expectSame(out, join(root, "from-directory"));
});

test("more threads than can be parted: as many as there are shares", async () => {
	const observed = await run({ threads: 1000, mesh: ["--target=hf"], flags: ["--memory=512MiB"] });
	const summary = summaryOf(observed);
	expect(summary.threadsReason).toBe("parts");
	expect(summary.threads.length).toBeLessThan(20);
	expect(summary.fetchedBytes).toBe(summary.totals.fetchBytes);
});

test("the events add up what the threads tell", async () => {
	await using hub = await createLocalHub({ repos: [MODEL] });
	const events: ProgressEvent[] = [];
	const { convert, parseConvertOptions } = await builtProgram();
	const converted = await convert({
		...parseConvertOptions({
			repo: MODEL.id,
			out,
			threads: 3,
			memoryBytes: "16MiB",
			parallelism: { dpShard: 4, tp: 2, ep: 4 },
			environment: { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") },
		}),
		onEvent: (event) => events.push(event),
	});
	const summary = done(converted);
	const totalsOf = (kind: "received" | "written"): number[] =>
		events.flatMap((event) => (event.kind === kind ? [event.bytes] : []));
	for (const totals of [totalsOf("received"), totalsOf("written")]) {
		expect(totals).toEqual(totals.toSorted((a, b) => a - b));
	}
	expect(totalsOf("received").at(-1)).toBe(summary.headerBytes + summary.fetchedBytes);
	expect(totalsOf("written").at(-1)).toBe(summary.writtenBytes);
	const entries = events.flatMap((event) => (event.kind === "entry" ? [event.index] : []));
	expect(entries.toSorted((a, b) => a - b)).toEqual([...summary.plan.entries.keys()]);
	const requests = events.filter(({ kind }) => kind === "request").length;
	expect(requests).toBe(summary.requests + 2 * WEIGHT_FILES.length);
});

/** The built program: a thread runs no TypeScript. */
async function builtProgram(): Promise<typeof import("../../src/index.ts")> {
	const url = new URL("../../dist/src/index.js", import.meta.url).href;
	return (await import(url)) as typeof import("../../src/index.ts");
}

/** The last of the files, which the last thread reads, is never sent; the first thread does not need it. */
const withoutLastFile: Intercept = ({ record }, next) => {
	if (weightsOf(record)?.file !== WEIGHT_FILES.at(-1)) next();
};

/** Resolves when a thread has finished its share, by what the journal says. */
async function untilJournalled(): Promise<void> {
	while (journalled(out) === 0) {
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
}

/** What is left after a run that did not finish: finished by another number of threads, and only what was not journalled. */
async function expectFinishable(threads: number): Promise<void> {
	expect(existsSync(join(out, ".metadata"))).toBe(false);
	expect(isUnfinished(out)).toBe(true);
	const kept = journalled(out);
	const observed = await run({ threads });
	const summary = summaryOf(observed);
	expect(summary.resumedEntries).toBe(kept);
	const resumed = summary.threads.reduce((sum, thread) => sum + thread.resumedEntries, 0);
	expect(resumed).toBe(kept);
	expect(kept).toBeGreaterThan(0);
	expect(summary.fetchedBytes).toBeLessThan(summary.totals.fetchBytes);
	expect(servedOnce(observed.requests)).toBe(summary.fetchedBytes);
	const whole = join(root, `whole-for-resume`);
	if (!existsSync(whole)) summaryOf(await run({ threads: 1, directory: whole }));
	expectSame(out, whole);
}

describe("stopped with 3 threads", () => {
	test.each([
		["SIGINT", 130],
		["SIGTERM", 143],
	] as const)("by %s: flushed, and 2 threads go on", async (signal, exitCode) => {
		const { result } = await run({
			threads: 3,
			intercept: withoutLastFile,
			onStart: ({ child }) => void untilJournalled().then(() => child.kill(signal)),
		});
		expect(result.code).toBe(exitCode);
		expect(result.stdout).toBe("");
		await expectFinishable(2);
	});

	test("by a second Ctrl-C at once, and one thread goes on", async () => {
		const interruptTwice = async ({ child }: CliRun): Promise<void> => {
			await untilJournalled();
			child.kill("SIGINT");
			// Signals that are not yet delivered are merged into one.
			await once(child.stderr, "data");
			child.kill("SIGINT");
		};
		const { result } = await run({
			threads: 3,
			intercept: withoutLastFile,
			onStart: (started) => void interruptTwice(started),
		});
		expect(result.code).toBe(130);
		await expectFinishable(1);
	});

	test.each([1, 5])("by SIGKILL: %i threads redo only what was not journalled", async (threads) => {
		const { result } = await run({
			threads: 3,
			intercept: withoutLastFile,
			onStart: ({ child }) => void untilJournalled().then(() => child.kill("SIGKILL")),
		});
		expect(result.code).toBe(null);
		await expectFinishable(threads);
	});
});

describe("a failure of one thread ends all with its error", () => {
	test("a file that the Hub's storage refuses: the same message as with one thread", async () => {
		const intercept: Intercept = ({ record, response }, next) => {
			if (weightsOf(record)?.file !== WEIGHT_FILES.at(-1)) next();
			else response.writeHead(403).end("SignatureDoesNotMatch");
		};
		const alone = await run({ threads: 1, intercept, directory: `${out}-alone` });
		const { result } = await run({ threads: 3, intercept });
		expect(result.code).toBe(3);
		expect(result.code).toBe(alone.result.code);
		const errorOf = ({ stderr }: CliResult): unknown => {
			const error = JSON.parse(stderr.trim().split("\n").at(-1) ?? "") as { message: string };
			// Which of the Hub's ports it was differs.
			return { ...error, message: error.message.replaceAll(/:\d+/g, "") };
		};
		expect(errorOf(result)).toEqual(errorOf(alone.result));
		await expectFinishable(2);
	});

	test.runIf(isRoot)("a disk that fills up (a tmpfs; needs root)", async () => {
		const disk = join(root, "disk");
		mkdirSync(disk);
		execFileSync("mount", ["-t", "tmpfs", "-o", "size=40m", "tmpfs", disk]);
		try {
			const directory = join(disk, "step-0");
			let seen = 0;
			const intercept: Intercept = ({ record }, next) => {
				// After the check for space, and before most of the data.
				if (weightsOf(record) !== undefined && ++seen === 4) {
					try {
						writeFileSync(join(disk, "filler"), new Uint8Array(40 * 2 ** 20));
					} catch {
						// As much as fits.
					}
				}
				next();
			};
			const { result } = await run({ directory, threads: 3, intercept });
			expect(result.code).toBe(5);
			expect(result.stderr).toContain("the disk is full");
			expect(existsSync(join(directory, ".metadata"))).toBe(false);
			rmSync(join(disk, "filler"));
			summaryOf(await run({ directory, threads: 2 }));
		} finally {
			execFileSync("umount", ["--lazy", disk]);
		}
	});
});

describe("a thread that crashes is named", () => {
	/** A module that every thread loads first, and that ends the last thread, which waits for its file, in its own way. */
	const crashing = (how: string): Readonly<Record<string, string>> => {
		const file = join(root, `crash-${count}.mjs`);
		const isLast = "!isMainThread && threadId === 3";
		const lines = [
			'import { readdirSync, readFileSync } from "node:fs";',
			'import { isMainThread, threadId } from "node:worker_threads";',
			`const state = ${JSON.stringify(join(out, STATE_NAME))};`,
			"const journals = () => readdirSync(state, { recursive: true }).filter((name) => /journal\\.\\d+$/.test(name));",
			'const isJournalled = () => journals().some((name) => readFileSync(`${state}/${name}`, "utf8").split("\\n").length > 2);',
			`const timer = ${isLast} ? setInterval(() => { if (!isJournalled()) return; clearInterval(timer); ${how} }, 20) : undefined;`,
		];
		writeFileSync(file, lines.join("\n"));
		return { NODE_OPTIONS: `--max-old-space-size=128 --import=${file}` };
	};

	test.each([
		["by an exception nobody caught", 'throw new Error("boom");', "boom"],
		["by ending", "process.exit(7);", "code 7"],
		[
			"by running out of memory",
			"const kept = []; for (;;) kept.push(new Array(1e6).fill(0.5));",
			"memory limit",
		],
	])("%s", async (_, how, reason) => {
		const { result } = await run({ threads: 3, intercept: withoutLastFile, env: crashing(how) });
		expect(result.code).toBe(1);
		const error = JSON.parse(result.stderr.trim().split("\n").at(-1) ?? "") as {
			readonly code: string;
			readonly message: string;
			readonly causes: readonly string[];
		};
		expect(error).toMatchObject({
			code: "WORKER_FAILED",
			message: "thread 3 ended before its work was done",
		});
		expect(error.causes.join()).toContain(reason);
		await expectFinishable(2);
	});
});
