import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runningProcesses } from "../support/processes.ts";
import { findPython } from "../support/python.ts";
import { BIN } from "../support/run-cli.ts";
import { deployFile, EngineBench, HELD_AFTER } from "./engine-bench.ts";

const python = findPython(["torch", "transformers", "safetensors"]);
const why = "skip" in python ? `: ${python.skip}` : "";

const WORKERS = 3;

describe.skipIf(why !== "")(`torchrun${why}`, () => {
	let bench: EngineBench;

	beforeAll(async () => {
		bench = await EngineBench.open("python" in python ? python.python : "");
	});
	afterAll(() => bench?.[Symbol.asyncDispose]());
	afterEach(() => bench.hub.release());

	test("runs the line of deploy/ with three workers", async () => {
		const checkpoint = bench.newCheckpoint();
		const args = bench.argumentsFor(checkpoint);
		const { code, output } = await bench.run(deployFile("torchrun.sh"), args, {
			PET_NPROC_PER_NODE: String(WORKERS),
		});
		expect(output).not.toContain("Error");
		expect(code).toBe(0);
		const { shares, workers } = await bench.summaryOf(checkpoint);
		expect(shares).toBe(WORKERS);
		expect(workers.map(({ worker }) => worker)).toEqual([0, 1, 2]);
		await bench.expectLoads(checkpoint);
	});

	test("starts all workers again when one is killed, and they go on", async () => {
		const checkpoint = bench.newCheckpoint();
		bench.hub.holdAfter(HELD_AFTER);
		const args = bench.argumentsFor(checkpoint);
		const agent = spawn(deployFile("torchrun.sh"), args, {
			env: { ...bench.env, PET_NPROC_PER_NODE: String(WORKERS) },
			stdio: ["ignore", "ignore", "pipe"],
		});
		const output = text(agent.stderr);
		const ended = once(agent, "exit");
		await bench.hub.held(WORKERS);
		const worker = runningProcesses().find(
			({ commandLine, environment }) =>
				commandLine.includes(BIN) &&
				commandLine.includes(checkpoint) &&
				environment["RANK"] === "1",
		);
		process.kill(worker!.pid, "SIGKILL");
		const again = (): boolean =>
			runningProcesses().some(
				({ commandLine, environment }) =>
					commandLine.includes(checkpoint) && environment["TORCHELASTIC_RESTART_COUNT"] === "1",
			);
		await expect.poll(again, { timeout: 30_000 }).toBe(true);
		bench.hub.release();
		expect(await ended, await output).toEqual([0, null]);
		const { shares, workers } = await bench.summaryOf(checkpoint);
		expect(shares).toBe(WORKERS);
		const resumed = workers.reduce((sum, { resumedEntries }) => sum + resumedEntries, 0);
		expect(resumed).toBeGreaterThan(0);
		await bench.expectLoads(checkpoint);
	});
});
