import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type Intercept } from "../../src/demo/local-hub.ts";
import type { ConvertSummary } from "../../src/index.ts";
import { fingerprint } from "../support/job-rig.ts";
import { journalled } from "../support/job-state.ts";
import { runningProcesses } from "../support/processes.ts";
import { copyQuickProgram } from "../support/quick-program.ts";

const MODEL = createDemoModel();
const LAST_FILE = [...MODEL.files.keys()].findLast((name) => name.endsWith(".safetensors")) ?? "";
const MESH = ["--dp-shard=4", "--tp=2", "--ep=4", "--dtype=float32"];

/** A window in the middle: some entries are written down by then, and many are not. */
const MIDDLE = 40;

let root: string;
let program: string;
let out: string;
let count = 0;
let reference: ReturnType<typeof fingerprint>;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-gpu-"));
	program = copyQuickProgram(join(root, "program"));
	const source = join(root, "program/dist/src");
	for (const name of ["create-webgpu-backend.js", "probe.js"]) {
		copyFileSync(
			join(import.meta.dirname, "../support/gpu-stub.mjs"),
			join(source, "stream/webgpu", name),
		);
	}
	const thread = join(source, "threads/thread.js");
	const text = readFileSync(thread, "utf8");
	expect(text).toContain("MAX_SILENCE_MS = 60_000");
	writeFileSync(thread, text.replace("MAX_SILENCE_MS = 60_000", "MAX_SILENCE_MS = 4_000"));
	out = join(root, "reference");
	expect((await run({ flags: ["--device=cpu", "--threads=1"] })).code).toBe(0);
	reference = fingerprint(out);
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

beforeEach(() => {
	out = join(root, `out-${count++}`);
});

interface Settings {
	readonly flags: readonly string[];
	readonly stub?: object;
	readonly intercept?: Intercept;
	readonly onStart?: (pid: number, kill: (signal: NodeJS.Signals) => void) => void;
}

interface Result {
	readonly pid: number;
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

/** Runs the copy of the program, whose GPU is a stub. */
async function run({ flags, stub = {}, intercept, onStart }: Settings): Promise<Result> {
	await using hub = await createLocalHub({ repos: [MODEL], intercept });
	const args = [MODEL.id, "--out", out, ...MESH, "--memory=16MiB", "--log-format=json", ...flags];
	const child = spawn(process.execPath, [program, ...args], {
		env: {
			PATH: process.env["PATH"],
			HF_ENDPOINT: hub.endpoint,
			HF_HOME: join(root, "home"),
			GPU_STUB: JSON.stringify(stub),
		},
		stdio: ["ignore", "pipe", "pipe"],
	});
	let stdout = "";
	let stderr = "";
	child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
	child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
	const pid = child.pid ?? 0;
	onStart?.(pid, (signal) => child.kill(signal));
	const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
	return { pid, code, stdout, stderr };
}

function summaryOf({ code, stdout, stderr }: Result): ConvertSummary {
	expect(code, stderr).toBe(0);
	return JSON.parse(stdout) as ConvertSummary;
}

interface Line {
	readonly kind: string;
	readonly message: string;
	readonly code?: string;
}

function linesOf({ stderr }: Result, kind: string): readonly Line[] {
	const lines = stderr.split("\n").filter((line) => line !== "");
	return lines.map((line) => JSON.parse(line) as Line).filter((line) => line.kind === kind);
}

/** Processes of the copied program that use a GPU. */
function gpuProcesses(): readonly number[] {
	const name = join(root, "program/dist/src/threads/gpu-program.js");
	return runningProcesses()
		.filter(({ commandLine }) => commandLine.includes(name))
		.map(({ pid }) => pid);
}

describe("a thread that uses a GPU is a process", () => {
	test.each([1, 3])(
		"%i of them write what the CPU writes, and nothing they print is seen",
		async (threads) => {
			const result = await run({ flags: ["--device=webgpu", `--threads=${threads}`] });
			const summary = summaryOf(result);
			expect(fingerprint(out)).toEqual(reference);
			expect(result.stdout + result.stderr).not.toContain("NOISE");
			expect(linesOf(result, "warning")).toEqual([]);
			expect(summary.device).toMatchObject({
				asked: "webgpu",
				chosen: "webgpu",
				reason: "asked",
				adapter: "Stub 1",
				redone: 0,
				lost: [],
			});
			expect(summary.device.batches).toBeGreaterThan(MIDDLE);
			expect(summary.fetchedBytes).toBe(summary.totals.fetchBytes);
			const backends = new Set(summary.threads.map(({ backend }) => backend));
			expect(backends.size).toBe(threads);
			expect(backends).not.toContain(`stub ${result.pid}`);
			expect(gpuProcesses()).toEqual([]);
		},
	);

	test("with auto a small model opens no GPU", async () => {
		const summary = summaryOf(await run({ flags: ["--threads=1"], stub: { probe: "crash" } }));
		expect(summary.device).toMatchObject({ asked: "auto", chosen: "cpu", reason: "little" });
	});

	test("an error of the source is the error", async () => {
		const intercept: Intercept = ({ record, response }, next) => {
			if (!record.path.endsWith(LAST_FILE) || record.origin !== "cdn") next();
			else response.writeHead(403).end("SignatureDoesNotMatch");
		};
		const alone = await run({ flags: ["--device=cpu", "--threads=1"], intercept });
		out = `${out}-gpu`;
		const result = await run({ flags: ["--device=webgpu", "--threads=1"], intercept });
		expect(result.code).toBe(alone.code);
		expect(linesOf(result, "error")[0]?.code).toBe(linesOf(alone, "error")[0]?.code);
	});
});

describe("a GPU process that is lost", () => {
	test.each([
		["SIGKILL", "SIGKILL", 1],
		["SIGSEGV", "SIGSEGV", 3],
		["exit", "code 0", 1],
		["SIGSTOP", "no sign of life", 1],
		["block", "no sign of life", 1],
	])("by %s: the CPU does the rest, with one warning", async (how, reason, threads) => {
		const flags = ["--device=webgpu", `--threads=${threads}`];
		const result = await run({ flags, stub: { how, at: MIDDLE } });
		const summary = summaryOf(result);
		expect(fingerprint(out)).toEqual(reference);
		expect(linesOf(result, "warning").map(({ message }) => message)).toEqual([
			expect.stringContaining(reason),
		]);
		expect(summary.device.lost).toHaveLength(threads);
		expect(summary.device.lost[0]).toContain(reason);
		expect(summary.threads.map(({ backend }) => backend)).not.toContainEqual(
			expect.stringContaining("stub"),
		);
		const sum = (key: "entries" | "resumedEntries"): number =>
			summary.threads.reduce((total, thread) => total + thread[key], 0);
		expect(sum("entries")).toBe(summary.totals.entries);
		expect(sum("resumedEntries")).toBe(0);
		// What was under way was fetched again, and not all of it.
		expect(summary.fetchedBytes).toBeGreaterThanOrEqual(summary.totals.fetchBytes);
		expect(summary.fetchedBytes).toBeLessThan(
			(threads === 1 ? 1.9 : 2.1) * summary.totals.fetchBytes,
		);
		expect(gpuProcesses()).toEqual([]);
	});

	test("or cannot be opened again: the same", async () => {
		const flags = ["--device=webgpu", "--threads=2"];
		const result = await run({ flags, stub: { how: "unavailable" } });
		expect(summaryOf(result).device.lost).toEqual(["no more of it"]);
		expect(linesOf(result, "warning")).toHaveLength(1);
		expect(fingerprint(out)).toEqual(reference);
	});
});

describe("without a GPU, --device webgpu fails before anything is fetched", () => {
	test.each([
		["no adapter", { probe: "none" }, "no adapter"],
		["a driver that crashes", { probe: "crash" }, "SIGSEGV"],
		["a failed self-test", { probe: { selfTest: "move16 is wrong" } }, "move16 is wrong"],
	])("%s", async (_, stub, reason) => {
		const result = await run({ flags: ["--device=webgpu"], stub });
		expect(result.code).toBe(7);
		expect(linesOf(result, "error")).toEqual([
			expect.objectContaining({
				code: "DEVICE_UNAVAILABLE",
				message: expect.stringContaining(reason),
			}),
		]);
		expect(result.stdout).toBe("");
	});
});

describe("signals", () => {
	const dataBegin = 8 + Number(Buffer.from(MODEL.files.get(LAST_FILE) ?? []).readBigUInt64LE());
	/** The weights of the last file are never sent. */
	const withoutLastFile: Intercept = ({ record }, next) => {
		const start = Number(/^bytes=(\d+)-/.exec(record.range ?? "")?.[1] ?? 0);
		if (!record.path.endsWith(LAST_FILE) || record.origin !== "cdn" || start < dataBegin) next();
	};
	const onceJournalled = async (act: () => void | Promise<void>): Promise<void> => {
		while (journalled(out) === 0) await wait(20);
		await act();
	};

	test.each([
		["SIGINT", 130],
		["SIGTERM", 143],
	] as const)("%s to all: flushed, and the CPU goes on", async (signal, exitCode) => {
		const result = await run({
			flags: ["--device=webgpu", "--threads=1"],
			intercept: withoutLastFile,
			onStart: (_, kill) =>
				void onceJournalled(() => {
					for (const pid of gpuProcesses()) process.kill(pid, signal);
					kill(signal);
				}),
		});
		expect(result.code).toBe(exitCode);
		const kept = journalled(out);
		const summary = summaryOf(await run({ flags: ["--device=cpu", "--threads=1"] }));
		expect(summary.resumedEntries).toBe(kept);
		expect(fingerprint(out)).toEqual(reference);
	});

	test.each([
		["works", {}],
		["hangs", { how: "block", at: MIDDLE }],
	])("a GPU process that %s ends with its parent", async (_, stub) => {
		let children: readonly number[] = [];
		await run({
			flags: ["--device=webgpu", "--threads=2"],
			stub,
			intercept: withoutLastFile,
			onStart: (_pid, kill) =>
				void onceJournalled(async () => {
					children = gpuProcesses();
					await wait(500);
					kill("SIGKILL");
				}),
		});
		expect(children).toHaveLength(2);
		for (let waited = 0; gpuProcesses().length > 0 && waited < 5000; waited += 50) await wait(50);
		expect(gpuProcesses()).toEqual([]);
	});
});
