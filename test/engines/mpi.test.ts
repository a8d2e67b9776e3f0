import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runningProcesses } from "../support/processes.ts";
import { findPython } from "../support/python.ts";
import { BIN } from "../support/run-cli.ts";
import { findTools } from "../support/tools.ts";
import { deployFile, EngineBench, HELD_AFTER } from "./engine-bench.ts";

const python = findPython(["torch", "transformers", "safetensors"]);
const tools = findTools(
	["mpirun.openmpi", "mpiexec.hydra"],
	"Debian: apt install openmpi-bin mpich",
);
const skip = tools.skip ?? ("skip" in python ? python.skip : undefined);

/** More processes than cores, and by whoever runs the tests. */
const MPIRUN_FLAGS = "-np 4 --oversubscribe --allow-run-as-root";

describe.skipIf(skip !== undefined)(
	`MPI's launchers${skip === undefined ? "" : `: ${skip}`}`,
	() => {
		let bench: EngineBench;

		beforeAll(async () => {
			bench = await EngineBench.open("python" in python ? python.python : "");
		});
		afterAll(() => bench?.[Symbol.asyncDispose]());
		afterEach(() => bench.hub.release());

		async function expectWhole(checkpoint: string, workers: readonly number[], shares: number) {
			const summary = await bench.summaryOf(checkpoint);
			expect(summary.shares).toBe(shares);
			expect(summary.workers.map(({ worker }) => worker)).toEqual(workers);
			await bench.expectLoads(checkpoint);
			return summary;
		}

		/** Starts the launcher, and kills one worker in the middle. */
		async function loseWorker(
			command: string,
			args: readonly string[],
			rank: { readonly [name: string]: string },
		): Promise<{ readonly code: unknown; readonly output: string }> {
			bench.hub.holdAfter(HELD_AFTER);
			const launcher = spawn(command, args, {
				env: { ...bench.env, MPIRUN_FLAGS },
				stdio: ["ignore", "ignore", "pipe"],
			});
			const output = text(launcher.stderr);
			const ended = once(launcher, "exit");
			await bench.hub.held(4);
			const [[name, value] = ["", ""]] = Object.entries(rank);
			const worker = runningProcesses().find(
				({ commandLine, environment }) => commandLine.includes(BIN) && environment[name] === value,
			);
			process.kill(worker!.pid, "SIGKILL");
			bench.hub.release();
			const [code] = (await ended) as unknown[];
			return { code, output: await output };
		}

		test("mpirun runs the line of deploy/ with four workers", async () => {
			const checkpoint = bench.newCheckpoint();
			const args = bench.argumentsFor(checkpoint);
			const { code, output } = await bench.run(deployFile("mpirun.sh"), args, { MPIRUN_FLAGS });
			expect(code, output).toBe(0);
			await expectWhole(checkpoint, [0, 1, 2, 3], 4);
		});

		test("mpirun loses a worker; the others finish", async () => {
			const checkpoint = bench.newCheckpoint();
			const { code, output } = await loseWorker(
				deployFile("mpirun.sh"),
				bench.argumentsFor(checkpoint),
				{ OMPI_COMM_WORLD_RANK: "3" },
			);
			expect(code, output).toBe(0);
			const { takeovers } = await expectWhole(checkpoint, [0, 1, 2], 4);
			expect(takeovers).toBe(1);
		});

		test("Hydra runs three workers", async () => {
			const checkpoint = bench.newCheckpoint();
			const command = ["-n", "3", "hf-stream-dcp", ...bench.argumentsFor(checkpoint)];
			const { code, output } = await bench.run("mpiexec.hydra", command);
			expect(code, output).toBe(0);
			await expectWhole(checkpoint, [0, 1, 2], 3);
		});

		test("Hydra loses a worker and ends the job; the next one goes on with another number", async () => {
			const checkpoint = bench.newCheckpoint();
			const command = ["hf-stream-dcp", ...bench.argumentsFor(checkpoint)];
			const lost = await loseWorker("mpiexec.hydra", ["-n", "4", ...command], { PMI_RANK: "1" });
			expect(lost.code, lost.output).not.toBe(0);
			const { code, output } = await bench.run("mpiexec.hydra", ["-n", "2", ...command]);
			expect(code, output).toBe(0);
			await expectWhole(checkpoint, [0, 1], 4);
		});
	},
);
