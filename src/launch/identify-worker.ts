import { HfStreamDcpError } from "../core/errors.ts";
import { detectKubernetes, detectSkypilot, WORKERS_VARIABLE } from "./cluster.ts";
import { detectMpich, detectOpenMpi } from "./mpi.ts";
import { detectSlurm } from "./slurm.ts";
import { detectKubeflow, detectRankVariables, detectTorchrun } from "./torch.ts";
import type { Finding, LaunchEnvironment, SeenVariables, LaunchedWorker } from "./types.ts";
import { describeSeen, LAUNCHER_NAMES, numberOf, placeOf, seenOf, valueOf } from "./variables.ts";

/** How many workers share this machine, for when nobody else tells: it divides the machine's threads. Set for the children of `--workers`. */
export const LOCAL_WORKERS_VARIABLE = "HF_STREAM_DCP_LOCAL_WORKERS";

/** What the command line says. */
export interface IdentifyRequest {
	/** `--worker`: `i/n`, counted from 0. */
	readonly worker?: string | undefined;
	/** `--workers`: this process starts as many. */
	readonly workers?: number | undefined;
	/** Whether a person is watching. @default false */
	readonly isTerminal?: boolean | undefined;
}

type Whole = Extract<Finding, { kind: "whole" }>;
type Part = Extract<Finding, { kind: "part" }>;

/**
 * Which worker of a job this process is: what the command line says, else what the launchers' variables say, in this order, the innermost
 * launcher first: torchrun, `RANK` and `WORLD_SIZE` of others (Ray, DeepSpeed, Kubeflow v1), Open MPI, MPICH, a step of SLURM, Kubeflow's
 * `PET_…`, SkyPilot, an Indexed Job with `HF_STREAM_DCP_WORKERS`. Nobody says anything: alone.
 *
 * Launchers run inside one another. The first that is found is believed; the others must say the same, have started a single process, or
 * be such that they start nodes for it to fill. Nothing is guessed.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` with every variable that was seen, in the message and in `facts.variables`: when a launcher says
 *   half of it; when two disagree; when `--workers` is said in a process that is one of several.
 */
export function identifyWorker(
	environment: LaunchEnvironment,
	request: IdentifyRequest = {},
): LaunchedWorker {
	const { worker, workers, isTerminal = false } = request;
	if (worker !== undefined) {
		if (workers === undefined) return identityOfFlag(environment, worker);
		throw invalid("--worker and --workers: a worker starts no workers", {}, "Give one of them.");
	}
	const findings = findAll(environment, isTerminal);
	for (const finding of findings) {
		if (finding.kind === "broken") throw broken(finding);
	}
	const whole = choose(findings.filter((finding) => finding.kind === "whole"));
	if (whole !== undefined) assertCountSaid(environment, whole);
	const parts = findings.filter((finding) => finding.kind === "part");
	if (workers !== undefined) return identityOfStarter(workers, whole, parts);
	if (whole !== undefined) return whole.identity;
	const [part] = parts;
	if (part !== undefined) throw half(part, parts);
	return { index: 0, count: 1, launcher: "alone" };
}

function findAll(environment: LaunchEnvironment, isTerminal: boolean): readonly Finding[] {
	return [
		detectTorchrun(environment),
		detectRankVariables(environment),
		detectOpenMpi(environment),
		detectMpich(environment),
		detectSlurm(environment, isTerminal),
		detectKubeflow(environment),
		detectSkypilot(environment),
		detectKubernetes(environment),
	].filter((finding) => finding !== undefined);
}

function identityOfFlag(environment: LaunchEnvironment, worker: string): LaunchedWorker {
	const [, index, count] = /^\s*(\d{1,9})\s*\/\s*(\d{1,9})\s*$/.exec(worker) ?? [];
	const place = placeOf(
		index === undefined ? undefined : Number(index),
		count === undefined ? undefined : Number(count),
	);
	if (place === undefined) {
		const message = `--worker: expected i/n with i from 0 to n - 1, got ${JSON.stringify(worker)}`;
		throw invalid(message, {}, "The third of eight workers is --worker 2/8.");
	}
	const neighbours = numberOf(environment, LOCAL_WORKERS_VARIABLE);
	const local =
		neighbours === undefined || neighbours === 0
			? undefined
			: { index: place.index % neighbours, count: neighbours };
	return { ...place, launcher: "flag", local };
}

/** This process starts the workers: fine, as long as it is the only one that does. */
function identityOfStarter(
	workers: number,
	whole: Whole | undefined,
	parts: readonly Part[],
): LaunchedWorker {
	if (whole !== undefined && whole.identity.count > 1) {
		const { index, count, launcher } = whole.identity;
		throw invalid(
			`--workers ${workers}: this process is number ${index} of the ${count} that ${LAUNCHER_NAMES[launcher]} started (${describeSeen(whole.seen)}), and each of them would start ${workers}`,
			whole.seen,
			"Leave --workers out: each of the processes is a worker then.",
		);
	}
	if (whole === undefined) {
		const part = parts.find(({ isSettledByWorkers }) => !isSettledByWorkers);
		if (part !== undefined) throw half(part, parts);
	}
	return { index: 0, count: 1, launcher: "alone" };
}

/** The first, if the others agree. */
function choose(wholes: readonly Whole[]): Whole | undefined {
	const [first, ...others] = wholes;
	if (first === undefined) return undefined;
	let chosen = first;
	for (const other of others) {
		if (isSame(chosen, other)) {
			// A launcher's numbers were passed on under other names (`srun --mpi=pmi2`, scripts that export RANK); it may know more.
			if (chosen.identity.local === undefined) chosen = other;
			continue;
		}
		if (other.identity.count === 1 || chosen.contains(other.identity)) continue;
		throw disagree(chosen, other);
	}
	return chosen;
}

function isSame({ identity: one }: Whole, { identity: other }: Whole): boolean {
	return one.index === other.index && one.count === other.count;
}

/** Who sets the number of workers means it. */
function assertCountSaid(environment: LaunchEnvironment, { identity, seen }: Whole): void {
	const said = valueOf(environment, WORKERS_VARIABLE);
	if (said === undefined || Number(said) === identity.count) return;
	const who = LAUNCHER_NAMES[identity.launcher];
	throw invalid(
		`${who} says ${identity.count} workers (${describeSeen(seen)}), ${WORKERS_VARIABLE} says ${said}`,
		{ ...seen, ...seenOf(environment, [WORKERS_VARIABLE]) },
		`Unset ${WORKERS_VARIABLE}: it is for launchers that do not tell.`,
	);
}

function disagree(one: Whole, other: Whole): HfStreamDcpError {
	const say = ({ identity, seen }: Whole): string =>
		`${LAUNCHER_NAMES[identity.launcher]} says worker ${identity.index} of ${identity.count} (${describeSeen(seen)})`;
	return invalid(
		`cannot tell which worker this is: ${say(one)}, and ${say(other)}`,
		{ ...one.seen, ...other.seen },
		"Unset the variables that are leftovers, or say it with --worker i/n. A launcher that runs inside another must be told of all its processes (torchrun --nnodes).",
	);
}

function half(part: Part, parts: readonly Part[]): HfStreamDcpError {
	const seen: SeenVariables = Object.assign({}, ...parts.map((one) => one.seen)) as SeenVariables;
	return invalid(
		`cannot tell which worker this is: ${part.problem} (${describeSeen(seen)})`,
		seen,
		part.hint,
	);
}

function broken({ launcher, seen, problem }: Extract<Finding, { kind: "broken" }>): Error {
	return invalid(
		`${LAUNCHER_NAMES[launcher]}: ${describeSeen(seen)}: ${problem}`,
		seen,
		"Correct or unset them, or say it with --worker i/n.",
	);
}

function invalid(message: string, variables: SeenVariables, hint: string): HfStreamDcpError {
	return new HfStreamDcpError("OPTIONS_INVALID", message, { hint, facts: { variables } });
}
