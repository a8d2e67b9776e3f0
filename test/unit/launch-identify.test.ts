import { describe, expect, test } from "vitest";
import { HfStreamDcpError } from "../../src/core/errors.ts";
import { identifyWorker, type IdentifyRequest } from "../../src/launch/identify-worker.ts";

type Variables = Readonly<Record<string, string>>;

/** What every login shell may have, and what says nothing. */
const HABITS: Variables = {
	CUDA_VISIBLE_DEVICES: "0,1",
	OMP_NUM_THREADS: "8",
	MASTER_ADDR: "node-1",
	MASTER_PORT: "29500",
	WORLD_SIZE: "8",
	LOCAL_RANK: "0",
	PET_NNODES: "2",
	RAY_ADDRESS: "auto",
	SLURM_CONF: "/etc/slurm.conf",
	KUBERNETES_SERVICE_HOST: "10.0.0.1",
	TORCHELASTIC_ENABLE_FILE_TIMER: "1",
};

const torchrun = (rank: number, world: number, more: Variables = {}): Variables => ({
	RANK: String(rank),
	WORLD_SIZE: String(world),
	LOCAL_RANK: String(rank % 2),
	LOCAL_WORLD_SIZE: "2",
	GROUP_RANK: String(Math.floor(rank / 2)),
	GROUP_WORLD_SIZE: String(world / 2),
	MASTER_ADDR: "node-1",
	TORCHELASTIC_RUN_ID: "none",
	TORCHELASTIC_RESTART_COUNT: "0",
	...more,
});

const script = (tasks: number): Variables => ({
	SLURM_JOB_ID: "7",
	SLURM_PROCID: "0",
	SLURM_LOCALID: "0",
	SLURM_NODEID: "0",
	SLURM_NTASKS: String(tasks),
	SLURM_NPROCS: String(tasks),
	SLURM_TASKS_PER_NODE: "2(x2)",
});

const srun = (task: number, tasks: number, more: Variables = {}): Variables => ({
	...script(tasks),
	SLURM_STEP_ID: "0",
	SLURM_STEPID: "0",
	SLURM_STEP_NUM_TASKS: String(tasks),
	SLURM_PROCID: String(task),
	...more,
});

const openMpi = (rank: number, size: number): Variables => ({
	OMPI_COMM_WORLD_RANK: String(rank),
	OMPI_COMM_WORLD_SIZE: String(size),
	OMPI_COMM_WORLD_LOCAL_RANK: "1",
	OMPI_COMM_WORLD_LOCAL_SIZE: "2",
	OMPI_UNIVERSE_SIZE: "64",
	PMIX_RANK: String(rank),
});

const mpich = (rank: number, size: number): Variables => ({
	PMI_RANK: String(rank),
	PMI_SIZE: String(size),
	MPI_LOCALRANKID: "0",
	MPI_LOCALNRANKS: "2",
});

const pod = (more: Variables): Variables => ({ KUBERNETES_SERVICE_HOST: "10.0.0.1", ...more });

const alone = { index: 0, count: 1, launcher: "alone" };

describe("who I am", () => {
	test.each<[string, Variables, IdentifyRequest, object]>([
		["nothing is set", {}, {}, alone],
		["what people have in a login shell", HABITS, {}, alone],
		["variables that are set to nothing", { RANK: "", JOB_COMPLETION_INDEX: " " }, {}, alone],
		["--worker", {}, { worker: "2/8" }, { index: 2, count: 8, launcher: "flag" }],
		["--worker before all others", torchrun(1, 4), { worker: " 7 / 8" }, { index: 7, count: 8 }],
		[
			"a child of --workers",
			{ ...srun(1, 4), HF_STREAM_DCP_LOCAL_WORKERS: "3" },
			{ worker: "4/6" },
			{ index: 4, count: 6, local: { index: 1, count: 3 } },
		],
		[
			"torchrun",
			torchrun(3, 4, { TORCHELASTIC_RESTART_COUNT: "2" }),
			{},
			{ index: 3, count: 4, launcher: "torchrun", local: { index: 1, count: 2 }, restart: 2 },
		],
		[
			"srun",
			srun(3, 4, { SLURM_LOCALID: "1", SLURM_NODEID: "1", SLURM_STEP_TASKS_PER_NODE: "2(x2)" }),
			{},
			{ index: 3, count: 4, launcher: "slurm", local: { index: 1, count: 2 } },
		],
		[
			"srun, cyclic and uneven: the rank is not that of the host",
			srun(1, 7, { SLURM_LOCALID: "0", SLURM_NODEID: "3", SLURM_STEP_TASKS_PER_NODE: "2(x3),1" }),
			{},
			{ index: 1, count: 7, local: { index: 0, count: 1 } },
		],
		[
			"srun with fewer tasks than the job: the step's count holds",
			srun(1, 2, { SLURM_NTASKS: "4" }),
			{},
			{ index: 1, count: 2 },
		],
		[
			"an old srun",
			{ SLURM_STEPID: "1", SLURM_PROCID: "1", SLURM_NTASKS: "2" },
			{},
			{ index: 1, count: 2, launcher: "slurm" },
		],
		[
			"srun that binds tasks to CPUs",
			srun(0, 2, { SLURM_CPU_BIND_TYPE: "mask_cpu:" }),
			{},
			{ isBound: true },
		],
		["srun that does not", srun(0, 2, { SLURM_CPU_BIND_TYPE: "none" }), {}, { isBound: false }],
		["srun in a requeued job", srun(0, 2, { SLURM_RESTART_COUNT: "1" }), {}, { restart: 1 }],
		[
			"srun --mpi=pmi2: the same numbers twice",
			{ ...srun(1, 4), PMI_RANK: "1", PMI_SIZE: "4", SLURM_STEP_TASKS_PER_NODE: "4" },
			{},
			{ index: 1, count: 4, launcher: "slurm" },
		],
		[
			"srun and a script that exports the ranks of torch",
			{ ...srun(1, 4), RANK: "1", WORLD_SIZE: "4", MASTER_ADDR: "node-1" },
			{},
			{ index: 1, count: 4, launcher: "slurm" },
		],
		[
			"srun torchrun, an agent on each of two nodes, in another order than SLURM's",
			{ ...srun(1, 2), ...torchrun(1, 4) },
			{},
			{ index: 1, count: 4, launcher: "torchrun" },
		],
		[
			"torchrun --standalone in the only task of a step",
			{ ...srun(0, 1), ...torchrun(1, 2) },
			{},
			{ index: 1, count: 2, launcher: "torchrun" },
		],
		[
			"torchrun --standalone in the script of a job of several tasks",
			{ ...script(8), ...torchrun(1, 2) },
			{},
			{ index: 1, count: 2, launcher: "torchrun" },
		],
		["srun with one task", srun(0, 1), {}, { index: 0, count: 1, launcher: "slurm" }],
		["the script of a job of one task", script(1), {}, alone],
		["a script that asked for nodes only", { SLURM_JOB_ID: "7", SLURM_PROCID: "0" }, {}, alone],
		["salloc's shell", { SLURM_JOB_ID: "7", SLURM_NTASKS: "4", SLURM_NPROCS: "4" }, {}, alone],
		[
			"salloc's shell as an interactive step",
			srun(0, 1, { SLURM_STEP_ID: "4294967290", SLURM_NTASKS: "4" }),
			{},
			alone,
		],
		["srun -n 4 --pty bash", srun(0, 4, { SLURM_PTY_PORT: "1234" }), { isTerminal: true }, alone],
		[
			"srun from a shell of srun --pty",
			srun(2, 4, { SLURM_PTY_PORT: "1234" }),
			{ isTerminal: false },
			{ index: 2, count: 4 },
		],
		["a terminal in a notebook server's job", script(8), { isTerminal: true }, alone],
		[
			"Open MPI",
			openMpi(3, 4),
			{},
			{ index: 3, count: 4, launcher: "openmpi", local: { index: 1, count: 2 } },
		],
		[
			"mpirun in a SLURM job, whose daemons are a step",
			{ ...srun(1, 2), ...openMpi(3, 4) },
			{},
			{ index: 3, count: 4, launcher: "openmpi" },
		],
		[
			"MPICH",
			mpich(2, 4),
			{},
			{ index: 2, count: 4, launcher: "mpich", local: { index: 0, count: 2 } },
		],
		[
			"mpiexec.hydra in a SLURM job",
			{ ...srun(0, 2), ...mpich(1, 4) },
			{},
			{ index: 1, count: 4, launcher: "mpich" },
		],
		["mpirun torchrun", { ...openMpi(1, 2), ...torchrun(3, 4) }, {}, { index: 3, count: 4 }],
		[
			"DeepSpeed's launcher on each node of a step",
			{ ...srun(1, 2), RANK: "3", WORLD_SIZE: "4", LOCAL_RANK: "1" },
			{},
			{ index: 3, count: 4, launcher: "rank-variables" },
		],
		[
			"Ray Train",
			{
				RAY_RAYLET_PID: "9",
				RANK: "1",
				WORLD_SIZE: "3",
				LOCAL_RANK: "0",
				LOCAL_WORLD_SIZE: "2",
				NODE_RANK: "1",
			},
			{},
			{ index: 1, count: 3, launcher: "ray", local: { index: 0, count: 2 } },
		],
		[
			"Ray Train on a cluster that srun started",
			{ ...srun(0, 2), RAY_JOB_ID: "01000000", RANK: "2", WORLD_SIZE: "3" },
			{},
			{ index: 2, count: 3, launcher: "ray" },
		],
		["a driver of Ray", { RAY_JOB_ID: "01000000", RAY_RAYLET_PID: "9" }, {}, alone],
		[
			"Kubeflow v1",
			pod({ RANK: "1", WORLD_SIZE: "3", MASTER_ADDR: "job-master-0" }),
			{},
			{ index: 1, count: 3, launcher: "kubeflow-v1" },
		],
		[
			"Kubeflow v1 with nprocPerNode: a process for each pod",
			pod({
				RANK: "1",
				WORLD_SIZE: "16",
				MASTER_ADDR: "job-master-0",
				PET_NODE_RANK: "1",
				PET_NNODES: "2",
				PET_NPROC_PER_NODE: "8",
			}),
			{},
			{ index: 1, count: 2, launcher: "kubeflow-v1" },
		],
		[
			"Kubeflow v2, which is a JobSet",
			pod({
				PET_NODE_RANK: "1",
				PET_NNODES: "2",
				PET_NPROC_PER_NODE: "auto",
				JOB_COMPLETION_INDEX: "1",
			}),
			{},
			{ index: 1, count: 2, launcher: "kubeflow-v2" },
		],
		[
			"torchrun in a pod of Kubeflow",
			pod({
				...torchrun(3, 4),
				PET_NODE_RANK: "1",
				PET_NNODES: "2",
				PET_NPROC_PER_NODE: "2",
				JOB_COMPLETION_INDEX: "1",
			}),
			{},
			{ index: 3, count: 4, launcher: "torchrun" },
		],
		[
			"torchrun in a pod of an elastic job of Kubeflow",
			pod({ ...torchrun(1, 2), PET_NNODES: "1:4", PET_RDZV_ENDPOINT: "job-worker-0:29500" }),
			{},
			{ index: 1, count: 2, launcher: "torchrun" },
		],
		[
			"an Indexed Job",
			pod({ JOB_COMPLETION_INDEX: "5", HF_STREAM_DCP_WORKERS: "8" }),
			{},
			{ index: 5, count: 8, launcher: "kubernetes" },
		],
		[
			"SkyPilot",
			{ SKYPILOT_NODE_RANK: "1", SKYPILOT_NUM_NODES: "2" },
			{},
			{ index: 1, count: 2, launcher: "skypilot" },
		],
		["--workers at home", {}, { workers: 4 }, alone],
		["--workers in a step of one task", srun(0, 1), { workers: 4 }, alone],
		["--workers in the script of a job", script(4), { workers: 4 }, alone],
		["--workers 1 in spite of a leftover", { RANK: "0" }, { workers: 1 }, alone],
		[
			"--workers in an Indexed Job of one pod",
			pod({ JOB_COMPLETION_INDEX: "0", HF_STREAM_DCP_WORKERS: "1" }),
			{ workers: 4 },
			alone,
		],
	])("%s", (_, environment, request, expected) => {
		expect(identifyWorker(environment, request)).toMatchObject(expected);
	});

	test("every task of a step is another worker", () => {
		const places = [0, 1, 2, 3].map((task) => identifyWorker(srun(task, 4)).index);
		expect(places).toEqual([0, 1, 2, 3]);
	});
});

describe("what cannot be told", () => {
	test.each<[string, Variables, IdentifyRequest, readonly string[]]>([
		["RANK without WORLD_SIZE", { RANK: "1" }, {}, ["RANK=1", "--worker 1/n", "--workers 1"]],
		["a rank that is too large", { RANK: "4", WORLD_SIZE: "4" }, {}, ["RANK=4, WORLD_SIZE=4"]],
		["a rank that is no number", { RANK: "one", WORLD_SIZE: "4" }, {}, ["RANK=one"]],
		["torchrun without ranks", { TORCHELASTIC_RUN_ID: "a", RANK: "1" }, {}, ["WORLD_SIZE is not"]],
		["no number of processes from MPICH", { PMI_RANK: "1" }, {}, ["PMI_RANK=1", "PMI_SIZE"]],
		[
			"no number of processes from Open MPI",
			{ OMPI_COMM_WORLD_RANK: "1" },
			{},
			["OMPI_COMM_WORLD_SIZE"],
		],
		["no number of nodes from Kubeflow", pod({ PET_NODE_RANK: "0" }), {}, ["PET_NNODES"]],
		["an elastic job of Kubeflow", pod({ PET_NNODES: "1:4" }), {}, ["PET_NNODES=1:4", "torchrun"]],
		["a step without a count", { SLURM_STEP_ID: "0", SLURM_PROCID: "1" }, {}, ["SLURM_NTASKS"]],
		[
			"the script of a job of several tasks",
			script(4),
			{},
			["SLURM_NTASKS=4", "SLURM_PROCID=0", "no SLURM_STEP_ID", "srun before", "--workers 1"],
		],
		[
			"a batch script that asked for nodes alone",
			{ SLURM_JOB_ID: "7", SLURM_PROCID: "0", SLURM_NNODES: "4" },
			{},
			["SLURM_NNODES=4", "4 nodes", "no SLURM_STEP_ID"],
		],
		[
			"the script of a job, if a version of SLURM gives it a step",
			{ ...script(4), SLURM_STEP_ID: "4294967291" },
			{},
			["srun before"],
		],
		[
			"a pod of an Indexed Job without a count",
			pod({ JOB_COMPLETION_INDEX: "3" }),
			{},
			["JOB_COMPLETION_INDEX=3", "HF_STREAM_DCP_WORKERS", "completions"],
		],
		[
			"--workers in a pod of an Indexed Job",
			pod({ JOB_COMPLETION_INDEX: "0" }),
			{ workers: 4 },
			["JOB_COMPLETION_INDEX=0", "HF_STREAM_DCP_WORKERS"],
		],
		[
			"a count in a Job that is not indexed",
			pod({ HF_STREAM_DCP_WORKERS: "4" }),
			{},
			["HF_STREAM_DCP_WORKERS=4", "completionMode: Indexed"],
		],
		[
			"more pods than were told",
			pod({ JOB_COMPLETION_INDEX: "4", HF_STREAM_DCP_WORKERS: "4" }),
			{},
			["JOB_COMPLETION_INDEX=4, HF_STREAM_DCP_WORKERS=4"],
		],
		[
			"another count than the launcher's",
			{ ...srun(1, 4), HF_STREAM_DCP_WORKERS: "8" },
			{},
			["SLURM says 4", "HF_STREAM_DCP_WORKERS says 8"],
		],
		[
			"leftover ranks in a step",
			{ ...srun(2, 4), RANK: "0", WORLD_SIZE: "1" },
			{},
			["worker 0 of 1 (RANK=0, WORLD_SIZE=1", "SLURM says worker 2 of 4", "SLURM_STEP_NUM_TASKS=4"],
		],
		[
			"a torchrun of its own in every task",
			{ ...srun(2, 4), ...torchrun(1, 2) },
			{},
			["torchrun says worker 1 of 2", "GROUP_WORLD_SIZE=1", "SLURM says worker 2 of 4", "--nnodes"],
		],
		[
			"an mpirun of its own in every task",
			{ ...srun(2, 4), ...openMpi(0, 1) },
			{},
			["Open MPI says worker 0 of 1", "SLURM says worker 2 of 4"],
		],
		[
			"two kinds of MPI",
			{ ...openMpi(0, 2), ...mpich(1, 4) },
			{},
			["Open MPI says worker 0 of 2", "MPICH says worker 1 of 4"],
		],
		[
			"mpirun inside torchrun",
			{ ...torchrun(0, 2), ...openMpi(3, 4) },
			{},
			["torchrun says worker 0 of 2", "Open MPI says worker 3 of 4"],
		],
		[
			"ranks that are not in the order of the nodes",
			{ ...srun(0, 2), RANK: "3", WORLD_SIZE: "4" },
			{},
			["RANK=3", "SLURM_PROCID=0"],
		],
		["--workers in a step", srun(1, 4), { workers: 2 }, ["number 1 of the 4 that SLURM started"]],
		["--workers 1 in a step", srun(1, 4), { workers: 1 }, ["--workers 1", "Leave --workers out"]],
		["--workers under torchrun", torchrun(1, 4), { workers: 2 }, ["torchrun", "RANK=1"]],
		["both flags", {}, { worker: "0/2", workers: 2 }, ["--worker and --workers"]],
		["--worker beyond its count", {}, { worker: "2/2" }, ['"2/2"', "2/8"]],
		["--worker without a count", {}, { worker: "2" }, ['"2"']],
		["--worker of none", {}, { worker: "0/0" }, ['"0/0"']],
		["--worker below zero", {}, { worker: "-1/2" }, ['"-1/2"']],
	])("%s", (_, environment, request, expected) => {
		const error = errorOf(() => identifyWorker(environment, request));
		expect(error.code).toBe("OPTIONS_INVALID");
		for (const text of expected) expect(`${error.message}\n${error.hint ?? ""}`).toContain(text);
		// What an error shows is what was set.
		const shown = error.facts["variables"] as Variables;
		expect(environment).toMatchObject(shown);
	});
});

function errorOf(act: () => unknown): HfStreamDcpError {
	try {
		act();
	} catch (error) {
		if (error instanceof HfStreamDcpError) return error;
	}
	throw new Error("no error was thrown");
}
