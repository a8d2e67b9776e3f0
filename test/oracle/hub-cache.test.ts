import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocalHub, type LocalHub } from "../../src/demo/local-hub.ts";
import { openSource } from "../../src/fetch/open-source.ts";
import { environmentFor } from "../support/fetch-hub.ts";
import { shard, shardedModel } from "../support/open-source-model.ts";
import { findPython } from "../support/python.ts";

const REPO = "org/model";
const search = findPython(["huggingface_hub"]);
const reason = "skip" in search ? `: ${search.skip}` : "";

/** Runs Python's own client against `hub`, with its cache in `cacheDir`. */
async function download(hub: LocalHub, cacheDir: string, code: string, env = {}): Promise<void> {
	if ("skip" in search) throw new Error(search.skip);
	const child = spawn(search.python, ["-c", `from huggingface_hub import *\n${code}`], {
		env: {
			PATH: process.env["PATH"],
			HF_ENDPOINT: hub.endpoint,
			HF_HOME: cacheDir,
			HF_HUB_CACHE: cacheDir,
			HF_HUB_DISABLE_XET: "1",
			...env,
		},
		stdio: ["ignore", "ignore", "pipe"],
	});
	const [errors, [status]] = await Promise.all([text(child.stderr), once(child, "close")]);
	if (status !== 0) throw new Error(errors);
}

describe.skipIf("skip" in search)(`a cache that huggingface_hub filled${reason}`, () => {
	let hub: LocalHub;
	let root: string;
	beforeAll(async () => {
		hub = await createLocalHub({ repos: [{ id: REPO, files: shardedModel() }] });
		root = await mkdtemp(join(tmpdir(), "hub-cache-"));
	});
	afterAll(async () => {
		await hub.close();
		await rm(root, { recursive: true });
	});

	function openOffline(cacheDir: string) {
		const environment = environmentFor("http://127.0.0.1:9", { cacheDir, offline: true });
		return openSource({ repo: REPO, environment, connections: 2 });
	}

	test.each([
		["snapshot_download", `snapshot_download("${REPO}")`, {}],
		[
			"snapshot_download without links",
			`snapshot_download("${REPO}")`,
			{ HF_HUB_DISABLE_SYMLINKS: "1" },
		],
		[
			"hf_hub_download of every file",
			`[hf_hub_download("${REPO}", f) for f in list_repo_files("${REPO}")]`,
			{},
		],
	])("is the same source as the Hub: %s", async (name, code, env) => {
		const cacheDir = join(root, name.replaceAll(" ", "-"));
		await download(hub, cacheDir, code, env);
		await using offline = await openOffline(cacheDir);
		const environment = environmentFor(hub.endpoint);
		await using online = await openSource({ repo: REPO, environment, connections: 2 });
		expect([offline.kind, online.kind]).toEqual(["cache", "hub"]);
		const { files, ...rest } = offline.source;
		const { files: onlineFiles, ...onlineRest } = online.source;
		expect(rest).toEqual(onlineRest);
		// Without links and without a cached listing, nothing names the hash of a file.
		const known = files.map((file, i) => ({
			...file,
			sha256: file.sha256 ?? onlineFiles[i]?.sha256,
		}));
		expect(known).toEqual(onlineFiles);
	});

	test("names what a part of a model lacks", async () => {
		const cacheDir = join(root, "part");
		await download(hub, cacheDir, `snapshot_download("${REPO}", ignore_patterns="*-00002-*")`);
		await expect(openOffline(cacheDir)).rejects.toThrow(`it lacks ${shard(2, 3)}`);
	});
});
