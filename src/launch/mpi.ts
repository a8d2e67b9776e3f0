import type { Detector, Launcher, LaunchedWorker } from "./types.ts";
import { readSet } from "./variables.ts";

/** What starts one process for each node, for a launcher of MPI to start the others: it then counts daemons. */
const STARTS_DAEMONS: ReadonlySet<Launcher> = new Set([
	"slurm",
	"kubernetes",
	"kubeflow-v1",
	"kubeflow-v2",
	"skypilot",
]);

/** Inside a SLURM job the daemons of `mpirun` are a step, whose `SLURM_PROCID` and `SLURM_NTASKS` are about the daemons. */
function containsDaemons(environment: Parameters<Detector>[0], count: string) {
	// Where every task runs an `mpirun -n 1` of its own, nobody counts them all.
	return ({ launcher }: LaunchedWorker): boolean =>
		STARTS_DAEMONS.has(launcher) && environment[count] !== "1";
}

/**
 * Open MPI's `mpirun`.
 *
 * @see https://docs.open-mpi.org/en/v5.0.x/tuning-apps/environment-var.html
 */
export const detectOpenMpi: Detector = (environment) =>
	readSet(environment, {
		launcher: "openmpi",
		index: "OMPI_COMM_WORLD_RANK",
		count: "OMPI_COMM_WORLD_SIZE",
		localIndex: "OMPI_COMM_WORLD_LOCAL_RANK",
		localCount: "OMPI_COMM_WORLD_LOCAL_SIZE",
		contains: containsDaemons(environment, "OMPI_COMM_WORLD_SIZE"),
	});

/**
 * The Hydra process manager: `mpiexec` of MPICH and of Intel MPI. `srun --mpi=pmi2` sets the first two as well, and they agree with its own.
 *
 * @see MPICH 4.0.2 (measured) and Intel MPI: `PMI_RANK`, `PMI_SIZE`, `MPI_LOCALRANKID`, `MPI_LOCALNRANKS`
 */
export const detectMpich: Detector = (environment) =>
	readSet(environment, {
		launcher: "mpich",
		index: "PMI_RANK",
		count: "PMI_SIZE",
		localIndex: "MPI_LOCALRANKID",
		localCount: "MPI_LOCALNRANKS",
		contains: containsDaemons(environment, "PMI_SIZE"),
	});
