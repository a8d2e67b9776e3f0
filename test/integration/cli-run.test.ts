import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	cpSync,
	existsSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type LocalHub } from "../../src/demo/local-hub.ts";
import { BIN, type CliResult, runCli, startCli } from "../support/run-cli.ts";
import { checkpointFiles } from "../support/job-state.ts";

const MODEL = createDemoModel();
const MESH = ["--dp-shard", "4", "--tp", "2", "--ep", "4"];

let root: string;
let hub: LocalHub;
/** A checkpoint for {@link MESH}, and what the command that made it printed. Read only. */
let finished: string;
let finishing: CliResult;
let count = 0;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-cli-"));
	hub = await createLocalHub({ repos: [MODEL] });
	finished = join(root, "finished");
	finishing = await run(MODEL.id, "--out", finished, ...MESH);
});

afterAll(async () => {
	await hub.close();
	rmSync(root, { recursive: true });
});

let out: string;

beforeEach(() => {
	out = join(root, `out-${count++}`);
});

function run(...args: string[]): Promise<CliResult> {
	return runCli(args, { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") });
}

function expectNoCheckpoint(): void {
	const names = existsSync(out) ? readdirSync(out) : [];
	expect(names.filter((name) => name.endsWith(".metadata"))).toEqual([]);
}

describe("converting", () => {
	test("writes a checkpoint, says how to load it, and keeps progress off stdout", () => {
		const { code, stdout, stderr } = finishing;
		expect(stderr).toBe("");
		expect(code).toBe(0);
		expect(stdout).toContain(`--checkpoint.initial_load_path=${finished} `);
		expect(stdout).toContain("vision tensors are not part of the text model");
		expect(checkpointFiles(finished)).toEqual([
			".metadata",
			...Array.from({ length: 8 }, (_, rank) => `__${rank}_0.distcp`),
		]);
	});

	test("torchtitan's names, in both forms, make the same files", async () => {
		const { code } = await run(
			MODEL.id,
			`--out=${out}`,
			"--parallelism.data_parallel_shard_degree",
			"4",
			"--parallelism.tensor_parallel_degree=2",
			"--parallelism.expert-parallel-degree=4",
		);
		expect(code).toBe(0);
		expect(checkpointFiles(out)).toEqual(checkpointFiles(finished));
		for (const name of checkpointFiles(finished)) {
			const isSame = readFileSync(join(out, name)).equals(readFileSync(join(finished, name)));
			expect(isSame, name).toBe(true);
		}
	});

	test("fetches what it promised, in one JSON object", async () => {
		const before = hub.requests.length;
		const { stdout } = await run(MODEL.id, "--out", out, ...MESH, "--log-format", "json");
		const summary = JSON.parse(stdout) as {
			fetchedBytes: number;
			headerBytes: number;
			totals: { fetchBytes: number };
		};
		expect(summary.fetchedBytes).toBe(summary.totals.fetchBytes);
		const weights = hub.requests
			.slice(before)
			.filter(({ origin, method }) => origin === "cdn" && method === "GET");
		const served = weights.reduce((sum, { bytes }) => sum + bytes, 0);
		expect(served).toBeGreaterThanOrEqual(summary.fetchedBytes);
	});
});

describe("where it writes", () => {
	test("--out=~/… is below the home directory, though the shell leaves it alone", async () => {
		const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home"), HOME: out };
		const { code } = await runCli([MODEL.id, "--out=~/ckpt"], env);
		expect(code).toBe(0);
		expect(readdirSync(out)).toEqual(["ckpt"]);
	});

	test("a log that nobody reads does not stop it", async () => {
		const { child, done } = startCli([MODEL.id, "--out", out, "--revision", "nope"], {
			HF_ENDPOINT: hub.endpoint,
		});
		child.stderr.destroy();
		expect((await done).code).toBe(3);
	});

	test.runIf(existsSync("/dev/full"))("results that cannot be written exit with 5", async () => {
		const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
		const command = ["-c", 'exec "$@" >/dev/full', "sh", process.execPath, BIN, "plan", MODEL.id];
		const child = spawn("/bin/sh", command, { env, stdio: ["ignore", "ignore", "pipe"] });
		const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
		expect(code).toBe(5);
		expect(stderr).toMatch(/^error: stdout cannot be written: ENOSPC.*\n$/);
	});
});

describe("planning", () => {
	test("prints a table and leaves nothing behind", async () => {
		const { code, stdout } = await run("plan", MODEL.id, ...MESH);
		expect(code).toBe(0);
		for (const word of [
			"fetch",
			"write",
			".metadata",
			"per rank",
			"memory",
			"dropped",
			"added",
			"8 ranks",
		]) {
			expect(stdout).toContain(word);
		}
	});

	test("promises what a run then does", async () => {
		const promised = JSON.parse((await run("plan", MODEL.id, ...MESH, "--json")).stdout) as {
			totals: { fetchBytes: number; writeBytes: number; requests: number; files: number };
			metadataBytes: number;
		};
		const sizeOf = (name: string): number => statSync(join(finished, name)).size;
		expect(promised.metadataBytes).toBe(sizeOf(".metadata"));
		const data = checkpointFiles(finished).filter((name) => name !== ".metadata");
		expect(data).toHaveLength(promised.totals.files);
		const written = data.reduce((sum, name) => sum + sizeOf(name), 0);
		expect(written).toBe(promised.totals.writeBytes);
		const said = /^write +(\S+ \S+):/m.exec((await run("plan", MODEL.id, ...MESH)).stdout)?.[1];
		expect(finishing.stdout).toContain(`written     ${said}:`);
	});

	test("prints the same JSON on every run, and reads no weights for it", async () => {
		const before = hub.requests.length;
		const first = await run("plan", MODEL.id, ...MESH, "--json");
		const served = hub.requests.slice(before).reduce((sum, { bytes }) => sum + bytes, 0);
		const second = await run("plan", MODEL.id, ...MESH, "--json");
		expect(second.stdout).toBe(first.stdout);
		const plan = JSON.parse(first.stdout) as {
			totals: { fetchBytes: number };
			headerBytes: number;
		};
		expect(plan.totals.fetchBytes).toBeGreaterThan(20e6);
		expect(served).toBeLessThan(2e6);
	});
});

describe("inspecting", () => {
	test("shows a checkpoint's modules, tensors, chunks and files", async () => {
		const tree = await run("inspect", finished);
		expect(tree.code).toBe(0);
		expect(tree.stdout).toContain(`made of ${MODEL.id} @ `);
		expect(tree.stdout).toMatch(
			/tok_embeddings\.weight +1\.05M +2\.11 MB +bfloat16 +\[4096, 256\] +8 × \[512, 256\]/,
		);
		const { code, stdout } = await run("inspect", finished, "--flat", "--limit", "3");
		expect(code).toBe(0);
		expect(stdout).toMatch(/^49 tensors, 334 chunks, 8 files, /);
		expect(stdout).toMatch(
			/tok_embeddings\.weight +bfloat16 +\[4096, 256\] +8 × \[512, 256\] +8 +/,
		);
		const json = JSON.parse((await run("inspect", finished, "--json")).stdout) as {
			tensors: unknown[];
			files: unknown[];
			manifest: { repo: string; commit: string };
			modules: { params: number; tensors: number; children: { label: string }[] };
		};
		expect(json.tensors).toHaveLength(49);
		expect(json.manifest.repo).toBe(MODEL.id);
		expect(json.modules).toMatchObject({ tensors: 49, params: 11_540_752 });
		expect(json.modules.children.map(({ label }) => label)).toContain("tok_embeddings.weight");
		expect(json.files).toHaveLength(8);
	});

	test("shows a tensor beside what its source makes of it", async () => {
		const tensor = "layers.0.attention.qkv_linear.wq.weight";
		const { code, stdout, stderr } = await run(
			"inspect",
			finished,
			"--tensor",
			`${tensor}[8:12, -3:]`,
			"--source",
			"--precision",
			"2",
		);
		expect(stderr).toBe("");
		expect(code).toBe(0);
		expect(stdout).toContain(`${tensor}  bfloat16 [256, 256]`);
		expect(stdout).toContain(" 0  [0:32, 0:256]  __0_0.distcp ");
		expect(stdout).toContain("bit for bit equal: all 12 elements");
		expect(stdout).toMatch(/^elements +12 +12$/m);
		expect(stdout).toMatch(/^tensor\(\[\[ ?-?0\.\d\d, .*tensor\(\[\[/m);
	});

	test("shows a repository's tensors", async () => {
		const { code, stdout } = await run("inspect", MODEL.id, "--flat", "--limit", "0");
		expect(code).toBe(0);
		expect(stdout).toContain("57 tensors, 4 files");
		expect(stdout).toContain("language_model.model.layers.1.feed_forward.experts.gate_up_proj");
	});
});

describe("mistakes", () => {
	test("a flag that does not exist exits with 2", async () => {
		const { code, stderr } = await run(MODEL.id, "--out", out, "--tensor-parallel", "2");
		expect(code).toBe(2);
		expect(stderr).toContain("unknown option '--tensor-parallel'");
		expect(existsSync(out)).toBe(false);
	});

	test("a repository that does not exist exits with 3", async () => {
		const { code, stderr } = await run("demo/no-such-model", "--out", out);
		expect(code).toBe(3);
		expect(stderr).toContain("demo/no-such-model");
		expect(stderr).toContain("hint: ");
		expect(stderr).not.toMatch(/\n\s+at /);
		expectNoCheckpoint();
	});

	test("no network and nothing in the cache exits with 3", async () => {
		const { code, stderr } = await runCli(["plan", MODEL.id], {
			HF_HOME: join(root, "home"),
			HF_HUB_OFFLINE: "1",
		});
		expect(code).toBe(3);
		expect(stderr).toContain("hint: ");
	});

	test("a damaged checkpoint is shown and exits with 6", async () => {
		cpSync(finished, out, { recursive: true });
		rmSync(join(out, "__3_0.distcp"));
		const { code, stdout, stderr } = await run("inspect", out);
		expect(code).toBe(6);
		expect(stdout).toMatch(/__3_0\.distcp +\d+ +missing/);
		expect(stderr).toContain("__3_0.distcp");
	});

	test("an unfinished checkpoint is named as one", async () => {
		cpSync(finished, out, { recursive: true });
		rmSync(join(out, ".metadata"));
		const { code, stderr } = await run("inspect", out);
		expect(code).toBe(6);
		expect(stderr).toContain("not a finished checkpoint");
	});

	test("a mesh that cannot be exits with 4", async () => {
		const { code, stderr } = await run(MODEL.id, "--out", out, "--tp", "3");
		expect(code).toBe(4);
		expect(stderr).toMatch(/^error: .*\b3\b/);
		expectNoCheckpoint();
	});

	test("a finished checkpoint is not overwritten unasked: 5", async () => {
		cpSync(finished, out, { recursive: true });
		const refused = await run(MODEL.id, "--out", out, "--dp-shard", "2");
		expect(refused.code).toBe(5);
		expect(refused.stderr).toContain("--overwrite");
		expect(checkpointFiles(out)).toEqual(checkpointFiles(finished));
		expect((await run(MODEL.id, "--out", out, "--dp-shard", "2", "--overwrite")).code).toBe(0);
		expect(checkpointFiles(out)).toEqual([".metadata", "__0_0.distcp", "__1_0.distcp"]);
	});
});

describe("the demo", () => {
	test("runs twice, and replaces only what it wrote", async () => {
		const env = { TMPDIR: root };
		const first = await runCli(["demo", "--out", out], env);
		expect(first.stderr).toBe("");
		expect(first.code).toBe(0);
		expect(first.stdout).toMatch(
			/tok_embeddings\.weight +1\.05M +2\.11 MB +bfloat16 +\[4096, 256\]/,
		);
		expect((await runCli(["demo", "--out", out], env)).code).toBe(0);

		const refused = await runCli(["demo", "--out", finished], env);
		expect(refused.code).toBe(5);
		expect(refused.stderr).toContain("not the demo's");
	});
});
