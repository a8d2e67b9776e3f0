import type { Finding, LaunchEnvironment, Place } from "./types.ts";
import { numberOf, placeOf, readSet, seenOf, valueOf } from "./variables.ts";

/** From here on, ids of steps are marks: the batch script's, the interactive shell's, the external step's. */
const FIRST_SPECIAL_STEP = 0xfffffff0;

/** The step of the shell that `salloc` gives where the site configured `use_interactive_step`. */
const INTERACTIVE_STEP = 0xfffffffa;

const SHOWN = [
	"SLURM_JOB_ID",
	"SLURM_STEP_ID",
	"SLURM_PROCID",
	"SLURM_STEP_NUM_TASKS",
	"SLURM_NTASKS",
	"SLURM_NNODES",
];

/**
 * SLURM. Only a task of a step that `srun` started is one of several. The script of a job has `SLURM_PROCID=0` and the job's
 * `SLURM_NTASKS`, too, but runs once: {@link describeScript}. A shell is a person's, whatever it was started with.
 *
 * @param isTerminal - Whether a person is watching.
 * @see man srun, OUTPUT ENVIRONMENT VARIABLES; SchedMD/slurm src/common/env.c `setup_env` (a script has no `SLURM_STEP_ID`);
 *   slurm/slurm.h `SLURM_INTERACTIVE_STEP`. Measured with 22.05.8.
 */
export function detectSlurm(
	environment: LaunchEnvironment,
	isTerminal: boolean,
): Finding | undefined {
	const step = numberOf(environment, "SLURM_STEP_ID") ?? numberOf(environment, "SLURM_STEPID");
	if (step === INTERACTIVE_STEP) return undefined;
	// `srun --pty bash`: the tasks but the first have ended long ago.
	if (isTerminal && (step === undefined || valueOf(environment, "SLURM_PTY_PORT") !== undefined)) {
		return undefined;
	}
	if (step === undefined || step >= FIRST_SPECIAL_STEP) return describeScript(environment);
	const count = valueOf(environment, "SLURM_STEP_NUM_TASKS")
		? "SLURM_STEP_NUM_TASKS"
		: "SLURM_NTASKS";
	const finding = readSet(environment, {
		launcher: "slurm",
		index: "SLURM_PROCID",
		count,
		restart: "SLURM_RESTART_COUNT",
		also: ["SLURM_STEP_ID"],
		contains: () => false,
	});
	if (finding?.kind !== "whole") return finding;
	const local = localPlace(environment);
	return { ...finding, identity: { ...finding.identity, local, isBound: isBound(environment) } };
}

/** Whether each task has CPUs of its own. @see man srun, `SLURM_CPU_BIND_TYPE`: `none`, `mask_cpu:`, … */
function isBound(environment: LaunchEnvironment): boolean {
	const type = valueOf(environment, "SLURM_CPU_BIND_TYPE");
	return type !== undefined && type !== "none";
}

/** The script of a job of several tasks, outside `srun`: all of the job's tasks but this one are idle. */
function describeScript(environment: LaunchEnvironment): Finding | undefined {
	const tasks = numberOf(environment, "SLURM_NTASKS") ?? numberOf(environment, "SLURM_NPROCS");
	// A script that asked for nodes alone is told no number of tasks.
	const nodes = numberOf(environment, "SLURM_NNODES") ?? 1;
	// A shell of salloc has the number of tasks, but no number of its own.
	if (valueOf(environment, "SLURM_PROCID") === undefined) return undefined;
	if ((tasks ?? nodes) <= 1) return undefined;
	const size = tasks === undefined ? `${nodes} nodes` : `${tasks} tasks`;
	return {
		kind: "part",
		launcher: "slurm",
		seen: seenOf(environment, SHOWN),
		problem: `this is the script of a SLURM job of ${size}, and none of the tasks: there is no SLURM_STEP_ID`,
		hint: "Put srun before the command to run it in every task; or say --workers 1 to do all of it here, --workers n for n processes here.",
		isSettledByWorkers: true,
	};
}

/**
 * Which of the tasks of its node it is. `SLURM_STEP_TASKS_PER_NODE` lists the step's nodes in order: `2(x3),1`.
 *
 * @see man srun, `SLURM_TASKS_PER_NODE`
 */
function localPlace(environment: LaunchEnvironment): Place | undefined {
	const node = numberOf(environment, "SLURM_NODEID");
	const list = valueOf(environment, "SLURM_STEP_TASKS_PER_NODE");
	if (node === undefined || list === undefined) return undefined;
	let next = 0;
	for (const part of list.split(",")) {
		const [, tasks, nodes = "1"] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part.trim()) ?? [];
		if (tasks === undefined) return undefined;
		next += Number(nodes);
		if (node < next) return placeOf(numberOf(environment, "SLURM_LOCALID"), Number(tasks));
	}
	return undefined;
}
