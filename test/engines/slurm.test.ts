import { readFile } from "node:fs/promises";
import {
	afterAll,
	afterEach,
	beforeAll,
	beforeEach,
	describe,
	expect,
	onTestFailed,
	test,
} from "vitest";
import { freePorts } from "../support/free-ports.ts";
import { runningProcesses } from "../support/processes.ts";
import { findPython } from "../support/python.ts";
import { BIN } from "../support/run-cli.ts";
import { findSlurm, SlurmCluster } from "../support/slurm-cluster.ts";
import { findTools } from "../support/tools.ts";
import { deployFile, EngineBench, HELD_AFTER } from "./engine-bench.ts";

const python = findPython(["torch", "transformers", "safetensors"]);
const slurm = findSlurm();
const mpirun = findTools(["mpirun.openmpi"], "Debian: apt install openmpi-bin");
const skip = slurm.skip ?? mpirun.skip ?? ("skip" in python ? python.skip : undefined);

const NODES = 4;
const SCRIPT = deployFile("slurm.sbatch");

describe.skipIf(skip !== undefined)(`a real SLURM${skip === undefined ? "" : `: ${skip}`}`, () => {
	let bench: EngineBench;
	let cluster: SlurmCluster;
	let checkpoint: string;
	let log: string;

	beforeAll(async () => {
		[bench, cluster] = await Promise.all([
			EngineBench.open("python" in python ? python.python : ""),
			SlurmCluster.start({ nodes: NODES, killWaitSeconds: 10, nodeTimeoutSeconds: 10 }),
		]);
	});
	afterAll(async () => {
		await cluster?.[Symbol.asyncDispose]();
		await bench?.[Symbol.asyncDispose]();
	});
	beforeEach(() => {
		checkpoint = bench.newCheckpoint();
		log = `${checkpoint}.log`;
		onTestFailed(async () => {
			console.log(await readFile(log, "utf8").catch(String));
			console.log(await cluster.logs());
		});
	});
	afterEach(async () => {
		bench.hub.release();
		await cluster.run("scancel", "--user", "root", "--full").catch(() => {});
	});

	/** `sbatch FLAGS SCRIPT …`, a conversion into {@link checkpoint}. */
	function submit(flags: readonly string[], script = SCRIPT): Promise<string> {
		const conversion = bench.argumentsFor(checkpoint);
		const where = ["--output", log, "--chdir", bench.folder];
		return cluster.submit([...where, ...flags, script, ...conversion], bench.env);
	}

	async function isCompleted(id: string) {
		const job = await cluster.jobIs(id, ({ state }) => state === "COMPLETED");
		expect(job.exitCode).toBe("0:0");
		return job;
	}

	/** Submits a job for all nodes, and waits until every worker has done something and waits for more. */
	async function submitAndHold(flags: readonly string[]): Promise<string> {
		bench.hub.holdAfter(HELD_AFTER);
		const id = await submit(flags);
		await bench.hub.held(NODES);
		return id;
	}

	async function summary() {
		const { workers, ...rest } = await bench.summaryOf(checkpoint);
		const resumed = workers.reduce((sum, { resumedEntries }) => sum + resumedEntries, 0);
		return { ...rest, workers: workers.map(({ worker }) => worker), resumed };
	}

	test("runs the script of deploy/ with four tasks", async () => {
		const id = await submit(["--nodes=4"]);
		expect(await isCompleted(id)).toMatchObject({ nodes: 4, restarts: 0 });
		expect(await summary()).toMatchObject({ shares: 4, workers: [0, 1, 2, 3], resumed: 0 });
		await bench.expectLoads(checkpoint);
	});

	test("requeues it in the middle, as for a preemption; two nodes go on with the work of four", async () => {
		const id = await submitAndHold(["--nodes=1-4"]);
		expect(await cluster.job(id)).toMatchObject({ nodes: 4 });
		await cluster.run("scontrol", "update", "NodeName=node[3-4]", "State=DRAIN", "Reason=test");
		await cluster.run("scontrol", "requeue", id);
		await cluster.jobIs(id, ({ state }) => state === "PENDING");
		bench.hub.release();
		expect(await isCompleted(id)).toMatchObject({ nodes: 2, restarts: 1 });
		await cluster.run("scontrol", "update", "NodeName=node[3-4]", "State=RESUME");
		const done = await summary();
		expect(done).toMatchObject({ shares: 4, workers: [0, 1] });
		expect(done.resumed).toBeGreaterThan(0);
		await bench.expectLoads(checkpoint);
	});

	test("cancels it in the middle; the same command submitted again finishes it", async () => {
		const id = await submitAndHold(["--nodes=4"]);
		await cluster.run("scancel", id);
		await cluster.jobIs(id, ({ state }) => state === "CANCELLED");
		bench.hub.release();
		expect(await isCompleted(await submit(["--nodes=3"]))).toMatchObject({ nodes: 3 });
		const done = await summary();
		expect(done.shares).toBe(4);
		expect(done.resumed).toBeGreaterThan(0);
		await bench.expectLoads(checkpoint);
	});

	test("lets its time run out: the script puts the job back into the queue itself", async () => {
		const id = await submitAndHold(["--nodes=4"]);
		// What `#SBATCH --signal=TERM@180` does, without three minutes: to the tasks only.
		await cluster.run("scancel", "--signal=TERM", id);
		await cluster.jobIs(id, ({ state }) => state === "PENDING");
		bench.hub.release();
		expect(await isCompleted(id)).toMatchObject({ nodes: 4, restarts: 1 });
		expect((await summary()).resumed).toBeGreaterThan(0);
		await bench.expectLoads(checkpoint);
	});

	test("loses a worker: the others finish, and the job is completed", async () => {
		const id = await submitAndHold(["--nodes=4"]);
		const worker = runningProcesses().find(
			({ commandLine, environment }) =>
				environment["SLURM_JOB_ID"] === id &&
				environment["SLURM_PROCID"] === "2" &&
				commandLine.includes(BIN),
		);
		process.kill(worker!.pid, "SIGKILL");
		bench.hub.release();
		await isCompleted(id);
		const done = await summary();
		expect(done.takeovers).toBe(1);
		expect(done.workers).not.toContain(2);
		await bench.expectLoads(checkpoint);
	});

	test("loses a node: the others finish, and the job is completed", async () => {
		const id = await submitAndHold(["--nodes=4"]);
		await cluster.killNode("node4");
		bench.hub.release();
		await isCompleted(id);
		const done = await summary();
		expect(done.takeovers).toBe(1);
		expect(done.workers).not.toContain(3);
		await bench.expectLoads(checkpoint);
	});

	test("deals the tasks out in turn to the nodes", async () => {
		const id = await submit([
			"--nodes=2",
			"--ntasks-per-node=2",
			"--cpus-per-task=4",
			"--distribution=cyclic",
		]);
		await isCompleted(id);
		expect(await summary()).toMatchObject({ shares: 4, workers: [0, 1, 2, 3] });
		await bench.expectLoads(checkpoint);
	});

	test("starts torchrun on two nodes, and that starts the workers", async () => {
		const script = await bench.script(
			"torchrun.sbatch",
			`srun sh -c 'PET_NODE_RANK=$SLURM_NODEID exec "$@"' sh ${deployFile("torchrun.sh")} "$@"`,
		);
		const [port] = await freePorts(1);
		const rendezvous = `PET_NNODES=2,PET_NPROC_PER_NODE=2,PET_MASTER_ADDR=127.0.0.1,PET_MASTER_PORT=${port}`;
		const id = await submit(["--nodes=2", `--export=ALL,${rendezvous}`], script);
		await isCompleted(id);
		expect(await summary()).toMatchObject({ shares: 4, workers: [0, 1, 2, 3] });
		await bench.expectLoads(checkpoint);
	});

	test("starts the daemons of mpirun on two nodes, and those start the workers", async () => {
		const script = await bench.script("mpirun.sbatch", `${deployFile("mpirun.sh")} "$@"`);
		const flags = "MPIRUN_FLAGS=-np 4 --oversubscribe --allow-run-as-root";
		const id = await submit(["--nodes=2", `--export=ALL,${flags}`], script);
		await isCompleted(id);
		expect(await summary()).toMatchObject({ shares: 4, workers: [0, 1, 2, 3] });
		await bench.expectLoads(checkpoint);
	});

	test("is told by a script that forgot srun that it would do all the work on one node", async () => {
		const script = await bench.script("no-srun.sbatch", 'hf-stream-dcp "$@"');
		const id = await submit(["--ntasks=2"], script);
		await cluster.jobIs(id, ({ state }) => state === "FAILED");
		expect((await cluster.job(id)).exitCode).toBe("2:0");
		expect(await readFile(log, "utf8")).toContain("Put srun before the command");
	});
});
