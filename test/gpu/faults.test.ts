import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
	type GpuEvent,
	type GpuFault,
	type GpuLog,
	type GpuRun,
	linesOf,
	runOnGpu,
	summariesOf,
	threadsOf,
	warningsOf,
	writeModel,
} from "../support/gpu-runs.ts";
import { fingerprint } from "../support/job-rig.ts";
import { tinyDeepseek } from "../support/quantised-models.ts";
import { findSoftwareGpu } from "../support/software-gpu.ts";

const gpu = findSoftwareGpu();
const skip = "skip" in gpu ? gpu.skip : undefined;

describe.skipIf(skip !== undefined)(
	`a GPU that fails${skip === undefined ? "" : `: ${skip}`}`,
	() => {
		let root = "";
		let count = 0;
		let repo = "";
		/** What the CPU makes of the model. */
		let expected: object;
		/** What the GPU was asked for when all went well. */
		let healthy: GpuLog;
		/** Batches that a thread counted then. */
		let batches = 0;

		beforeAll(async () => {
			root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-gpu-faults-"));
			repo = await writeModel(join(root, "model"), tinyDeepseek());
			summariesOf((await run("cpu")).result);
			expected = fingerprint(join(root, "out-0"));
			const { out, result } = await run("webgpu", undefined, true);
			const [thread] = threadsOf(result);
			expect(fingerprint(out)).toEqual(expected);
			healthy = result.logs.toSorted((a, b) => batchesOf(b) - batchesOf(a))[0]!;
			batches = thread?.gpu?.batches ?? 0;
			expect(batches).toBeGreaterThan(20);
			expect(batchesOf(healthy)).toBeGreaterThanOrEqual(batches);
		});

		afterAll(() => {
			rmSync(root, { recursive: true });
		});

		async function run(
			device: string,
			fault?: GpuFault,
			isWatched?: boolean,
		): Promise<{ readonly out: string; readonly result: GpuRun }> {
			const out = join(root, `out-${count++}`);
			const mesh = ["--dp-shard=2", "--tp=2", "--ep=4", "--memory=16MiB", "--threads=1"];
			const args = [repo, "--out", out, `--device=${device}`, ...mesh];
			return { out, result: await runOnGpu({ args, folder: root, fault, isWatched }) };
		}

		function batchesOf({ events }: GpuLog): number {
			return events.reduce((most, { batch = 0 }) => Math.max(most, batch), 0);
		}

		/** In the middle of the work, far behind the self-test. */
		function inMidRun(kind: GpuFault["kind"]): GpuFault {
			const nth = batchesOf(healthy) - Math.floor(batches / 2);
			return { kind, nth, token: join(root, `token-${count}`) };
		}

		test("buffers are made before the first batch, and none after it", () => {
			const begun = healthy.events.findIndex(({ batch }) => batch === 1);
			const made = (events: readonly GpuEvent[]): number =>
				events.filter(({ buffer }) => buffer !== undefined).length;
			expect(made(healthy.events.slice(0, begun))).toBeGreaterThan(0);
			expect(made(healthy.events.slice(begun))).toBe(0);
		});

		test.each([
			["kill", "its process is killed", /SIGKILL/],
			["stop", "its process hangs", /no sign of life/],
			["destroy", "the device is lost", /lost \(destroyed\)/],
			["oom", "its memory is full", /OUT_OF_DEVICE_MEMORY/],
			["drop", "it refuses a batch", /submitted more than once/],
			["hang", "a batch never ends", /did not answer/],
		] as const)("%s: %s, and the bytes are the CPU's", async (kind, _, reason) => {
			const { out, result } = await run("webgpu", inMidRun(kind));
			const threads = threadsOf(result);
			expect(
				result.logs.flatMap(({ events }) => events.flatMap(({ fault = [] }) => fault)),
			).toEqual([kind]);
			expect(fingerprint(out)).toEqual(expected);
			expect(warningsOf(result)).toEqual([expect.stringMatching(reason)]);
			const reasons = threads.flatMap((thread) => thread.gpu?.reasons ?? []);
			expect(reasons).toEqual([expect.stringMatching(reason)]);
			for (const { pid } of result.logs) expect(existsSync(`/proc/${pid}`), `${pid}`).toBe(false);
		});

		test("an adapter whose kernels are wrong is refused by name, before anything is written", async () => {
			const { out, result } = await run("webgpu", { kind: "flip", nth: 1 });
			expect(result.code).toBe(7);
			const message = expect.stringMatching(
				/self-test.*swiftshader|swiftshader.*self-test/i,
			) as unknown;
			expect(linesOf(result).at(-1)).toMatchObject({
				kind: "error",
				code: "DEVICE_UNAVAILABLE",
				message,
			});
			expect(existsSync(out)).toBe(false);
		});

		test("kernels that are wrong in one process only: the CPU does its part", async () => {
			const token = join(root, "token-later");
			const { out, result } = await run("webgpu", { kind: "flip", nth: 1, token, isLater: true });
			const threads = threadsOf(result);
			expect(fingerprint(out)).toEqual(expected);
			expect(warningsOf(result)).toEqual([expect.stringMatching(/self-test/)]);
			expect(threads.flatMap((thread) => thread.gpu?.reasons ?? [])).toEqual([
				expect.stringMatching(/self-test/),
			]);
		});
	},
);
