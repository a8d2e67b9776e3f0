import { EventEmitter, once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type Intercept, type RequestRecord } from "../../src/demo/local-hub.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import { type CliResult, runCli, startCli } from "../support/run-cli.ts";
import { checkpointFiles } from "../support/job-state.ts";

const MODEL = createDemoModel();

let root: string;
/** The result of a run that nobody disturbed. */
let whole: string;
/** Where the test's own result goes. */
let out: string;
let count = 0;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-interrupt-"));
	whole = join(root, "whole");
	expect((await convert(whole)).result.code).toBe(0);
});

beforeEach(() => {
	out = join(root, `out-${count++}`);
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

/** Length of the range a request asks for; 0 without one. */
function rangeBytes({ range }: RequestRecord): number {
	const [, start = "0", end = "-1"] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
	return Number(end) - Number(start) + 1;
}

/** Requests for weights: longer than any header of the model. */
function isWeights(record: RequestRecord): boolean {
	return record.origin === "cdn" && rangeBytes(record) > 100_000;
}

/** Longest budget that still makes the model many tiles: what is in flight is small beside what is done. */
const MEMORY_BYTES = 16 * 1024 * 1024;

/** What of it the stream may hold: staging and write buffers. */
const STREAM_BYTES = limitsFor(MEMORY_BYTES).memoryBytes;

const COMMAND = [
	MODEL.id,
	"--dp-shard=4",
	"--tp=2",
	"--ep=4",
	"--connections=1",
	`--memory=${MEMORY_BYTES}`,
	"--log-format=json",
];

/** How a conversion ended, and what the Hub saw of it. */
interface Observed {
	readonly result: CliResult;
	readonly weights: readonly RequestRecord[];
}

async function convert(directory: string): Promise<Observed> {
	await using hub = await createLocalHub({ repos: [MODEL] });
	const result = await runCli([...COMMAND, "--out", directory], {
		HF_ENDPOINT: hub.endpoint,
		HF_HOME: join(root, "home"),
	});
	return { result, weights: hub.requests.filter(isWeights) };
}

/** Requests that are answered before the Hub falls silent: more bytes than the stream holds, so that entries are finished. */
const ANSWERED = 24;

/** Converts into `directory` until the Hub falls silent, then sends `signal`, as often as `times` says. */
async function interrupt(
	directory: string,
	signal: NodeJS.Signals,
	times: number,
): Promise<Observed> {
	let seen = 0;
	const silence = new EventEmitter();
	const isSilent = once(silence, "begin");
	const intercept: Intercept = ({ record }, next) => {
		if (isWeights(record) && ++seen > ANSWERED) silence.emit("begin");
		else next();
	};
	await using hub = await createLocalHub({ repos: [MODEL], intercept });
	const { child, done } = startCli([...COMMAND, "--out", directory], {
		HF_ENDPOINT: hub.endpoint,
		HF_HOME: join(root, "home"),
	});
	await isSilent;
	child.kill(signal);
	if (times > 1) {
		// Signals that are not yet delivered are merged into one.
		await once(child.stderr, "data");
		child.kill(signal);
	}
	return { result: await done, weights: hub.requests.filter(isWeights) };
}

interface Summary {
	readonly fetchedBytes: number;
	readonly resumedEntries: number;
	readonly totals: { readonly fetchBytes: number };
}

test.each([
	["SIGINT", 130],
	["SIGTERM", 143],
] as const)(
	"after %s the same command finishes the work and fetches only what is missing",
	async (signal, exitCode) => {
		const { result, weights } = await interrupt(out, signal, 1);
		const lines = result.stderr
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line) as object);
		expect(lines.at(-1)).toMatchObject({
			kind: "warning",
			message: expect.stringContaining("The same command continues") as unknown,
		});
		expect(result.code).toBe(exitCode);
		expect(result.stdout).toBe("");
		expect(existsSync(join(out, ".metadata"))).toBe(false);
		const answered = weights.slice(0, ANSWERED).reduce((sum, { bytes }) => sum + bytes, 0);
		expect(answered).toBeGreaterThan(STREAM_BYTES);

		const again = await convert(out);
		expect(again.result.code).toBe(0);
		const summary = JSON.parse(again.result.stdout) as Summary;
		expect(summary.resumedEntries).toBeGreaterThan(0);
		// Everything but what was in memory when it was stopped is there already.
		expect(summary.fetchedBytes).toBeLessThan(summary.totals.fetchBytes - answered + STREAM_BYTES);
		const served = again.weights.reduce((sum, { bytes }) => sum + bytes, 0);
		expect(served).toBeLessThanOrEqual(summary.fetchedBytes);

		expect(checkpointFiles(out)).toEqual(checkpointFiles(whole));
		for (const name of checkpointFiles(whole)) {
			const isSame = readFileSync(join(out, name)).equals(readFileSync(join(whole, name)));
			expect(isSame, name).toBe(true);
		}
	},
);

test("a second Ctrl-C ends it at once, and the same command still finishes the work", async () => {
	const { result } = await interrupt(out, "SIGINT", 2);
	expect(result.code).toBe(130);
	expect(existsSync(join(out, ".metadata"))).toBe(false);
	expect((await convert(out)).result.code).toBe(0);
});
