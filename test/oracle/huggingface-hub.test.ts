import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { noise } from "../support/fetch-hub.ts";
import { findPython } from "../support/python.ts";

const REPO = "org/sharded";
const COMMIT = "ab".repeat(20);
const SCRIPT = fileURLToPath(new URL("huggingface-hub.py", import.meta.url));

function sha256(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}

function blobId(bytes: Uint8Array): string {
	return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function isSmall(path: string): boolean {
	return path.endsWith(".json");
}

const search = findPython(["huggingface_hub"]);

const reason = "skip" in search ? `: ${search.skip}` : "";

describe.skipIf("skip" in search)(`the official client and the local Hub${reason}`, () => {
	test("snapshot_download, the listing, metadata and errors", { timeout: 120_000 }, async () => {
		if (!("python" in search)) throw new Error(search.skip);
		const files = new Map<string, Uint8Array>([
			["config.json", Buffer.from('{"model_type":"llama"}')],
			["model-00001-of-00002.safetensors", noise(3_000_000)],
			["model-00002-of-00002.safetensors", noise(1_000_001)],
			["model.safetensors.index.json", Buffer.from('{"weight_map":{}}')],
			["original/params.json", Buffer.from("{}")],
		]);
		await using hub = await createLocalHub({
			repos: [
				{ id: REPO, commit: COMMIT, files },
				{ id: "org/gated", access: "gated", files },
			],
			pageEntries: 2,
		});
		const home = await mkdtemp(join(tmpdir(), "hf-stream-dcp-oracle-"));
		try {
			const { stdout } = await promisify(execFile)(
				search.python,
				[SCRIPT, REPO, join(home, "hub")],
				{
					env: {
						PATH: process.env["PATH"],
						HOME: home,
						HF_HOME: home,
						HF_ENDPOINT: hub.endpoint,
						HF_HUB_DISABLE_XET: "1",
						HF_HUB_DISABLE_TELEMETRY: "1",
						HF_TOKEN: "hf_test",
					},
				},
			);
			const entries = [...files];
			const seen = JSON.parse(stdout) as Record<string, unknown>;
			expect(seen["commit"]).toBe(COMMIT);
			expect(seen["sha"]).toBe(COMMIT);
			expect(seen["files"]).toEqual(
				Object.fromEntries(entries.map(([path, bytes]) => [path, sha256(bytes)])),
			);
			expect(seen["tree"]).toEqual(
				Object.fromEntries(
					entries.map(([path, bytes]) => [
						path,
						[bytes.length, isSmall(path) ? null : sha256(bytes)],
					]),
				),
			);
			expect(seen["paths"]).toEqual([["config.json", files.get("config.json")!.length]]);
			expect(seen["heads"]).toEqual(
				Object.fromEntries(
					entries.map(([path, bytes]) => [
						path,
						[COMMIT, isSmall(path) ? blobId(bytes) : sha256(bytes), bytes.length],
					]),
				),
			);
			expect(seen["errors"]).toEqual({
				repo: "RepositoryNotFoundError",
				revision: "RevisionNotFoundError",
				file: expect.stringMatching(/EntryNotFoundError$/),
				gated: "GatedRepoError",
			});
			const cdn = hub.requests.filter(({ origin }) => origin === "cdn");
			expect(cdn).toHaveLength(2);
			expect(cdn.some(({ hasAuthorization }) => hasAuthorization)).toBe(false);
		} finally {
			await rm(home, { recursive: true });
		}
	});
});
