import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";

const MODEL = createDemoModel();
const MESH = ["--dp-shard=4", "--tp=2", "--ep=4", "--memory=16MiB", "--log-format=json"];

let root: string;
/** The checkpoint of all 8 ranks. */
let whole: string;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-local-output-"));
	whole = join(root, "whole");
	expect((await run([MODEL.id, "--out", whole])).code).toBe(0);
});

afterAll(() => {
	rmSync(root, { recursive: true });
});

async function run(args: readonly string[]): Promise<CliResult> {
	await using hub = await createLocalHub({ repos: [MODEL] });
	const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	return await runCli([...args, ...MESH], env);
}

interface Summary {
	readonly ranks: readonly number[];
	readonly fetchedBytes: number;
	readonly totals: { readonly fetchBytes: number; readonly writeBytes: number };
}

function dataFiles(directory: string): readonly string[] {
	return readdirSync(directory).filter((name) => name.endsWith(".distcp"));
}

/** Where a file has data, it is that of the whole checkpoint; elsewhere it has a hole. */
function expectPartOf(directory: string, name: string): void {
	const part = readFileSync(join(directory, name));
	const all = readFileSync(join(whole, name));
	expect(part.length).toBe(all.length);
	for (const [i, byte] of part.entries()) {
		if (byte !== 0 && byte !== all[i]) throw new Error(`${name} differs at ${i}`);
	}
}

test("every worker has on its own disk what its ranks hold, as in the whole checkpoint", async () => {
	let fetchedBytes = 0;
	for (const index of [0, 1, 2, 3]) {
		const directory = join(root, `node-${index}`);
		const { code, stdout, stderr } = await run([
			MODEL.id,
			"--out",
			directory,
			"--local-output",
			`--worker=${index}/4`,
		]);
		expect(`${code} ${stderr}`).toMatch(/^0 /);
		const summary = JSON.parse(stdout) as Summary;
		const ranks = [2 * index, 2 * index + 1];
		expect(summary.ranks).toEqual(ranks);
		expect(summary.fetchedBytes).toBe(summary.totals.fetchBytes);
		fetchedBytes += summary.fetchedBytes;
		expect(readFileSync(join(directory, ".metadata"))).toEqual(
			readFileSync(join(whole, ".metadata")),
		);
		for (const name of dataFiles(directory)) expectPartOf(directory, name);
		for (const rank of ranks) {
			const own = readFileSync(join(directory, `__${rank}_0.distcp`));
			expect(own.equals(readFileSync(join(whole, `__${rank}_0.distcp`)))).toBe(true);
		}
		expect(existsSync(join(directory, ".hf-stream-dcp"))).toBe(false);
	}
	const { stdout } = await run(["plan", MODEL.id, "--workers=4", "--local-output", "--json"]);
	const plan = JSON.parse(stdout) as {
		readonly totals: { readonly fetchBytes: number };
		readonly local: { readonly extraFetchBytes: number };
		readonly workers: readonly object[];
	};
	expect(plan.workers).toHaveLength(4);
	expect(plan.totals.fetchBytes + plan.local.extraFetchBytes).toBe(fetchedBytes);
});

test("ranks that are named, and only they", async () => {
	const directory = join(root, "named");
	const flags = ["--local-output", "--ranks=7,1"];
	const { stdout } = await run([MODEL.id, "--out", directory, ...flags]);
	expect((JSON.parse(stdout) as Summary).ranks).toEqual([7, 1]);
	for (const name of dataFiles(directory)) expectPartOf(directory, name);
	// The same command finds it finished; another one is refused.
	expect((await run([MODEL.id, "--out", directory, ...flags])).code).toBe(0);
	const other = await run([MODEL.id, "--out", directory, "--local-output", "--ranks=2"]);
	expect(other.code).toBe(5);
	expect(other.stderr).toContain("ranks: 1, 7, now 2");
});

test.each<[string, readonly string[], string]>([
	["ranks without disks of their own", ["--ranks=0-3"], "--ranks is for --local-output"],
	["local workers, which share a disk", ["--local-output", "--workers=2"], "share its disks"],
	["ranks that cannot be divided", ["--local-output", "--worker=0/3"], "3 workers cannot"],
	["more workers than a machine runs", ["--workers=1025"], "at most 1024"],
	["a rank that is none", ["--local-output", "--ranks=8"], "rank 8"],
	["no ranks", ["--local-output", "--ranks=7-2"], "--ranks: expected ranks such as 0-7,16"],
])("%s: an error", async (_, flags, message) => {
	const { code, stderr } = await run([MODEL.id, "--out", join(root, "never"), ...flags]);
	expect(code).toBe(2);
	expect(stderr).toContain(message);
	expect(existsSync(join(root, "never", ".metadata"))).toBe(false);
});
