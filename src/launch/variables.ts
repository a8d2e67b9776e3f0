import type {
	Finding,
	LaunchEnvironment,
	Launcher,
	Place,
	SeenVariables,
	LaunchedWorker,
} from "./types.ts";

/** How an error names a launcher. */
export const LAUNCHER_NAMES: { readonly [L in Launcher]: string } = {
	alone: "nobody",
	flag: "--worker",
	torchrun: "torchrun",
	openmpi: "Open MPI",
	mpich: "MPICH",
	ray: "Ray",
	"kubeflow-v1": "Kubeflow",
	"kubeflow-v2": "Kubeflow",
	kubernetes: "Kubernetes",
	slurm: "SLURM",
	skypilot: "SkyPilot",
	"rank-variables": "RANK and WORLD_SIZE",
};

/** The value of a variable; `undefined` when it is unset or blank. */
export function valueOf(environment: LaunchEnvironment, name: string): string | undefined {
	const value = environment[name]?.trim();
	return value === "" ? undefined : value;
}

/** A variable as a whole number of at least 0; `undefined` when it is unset or something else. */
export function numberOf(environment: LaunchEnvironment, name: string): number | undefined {
	const value = valueOf(environment, name);
	return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** The variables of `names` that are set, as they are. */
export function seenOf(environment: LaunchEnvironment, names: readonly string[]): SeenVariables {
	const seen: [string, string][] = [];
	for (const name of names) {
		const value = valueOf(environment, name);
		if (value !== undefined) seen.push([name, value]);
	}
	return Object.fromEntries(seen);
}

/** `RANK=1, WORLD_SIZE=4` */
export function describeSeen(seen: SeenVariables): string {
	return Object.entries(seen)
		.map(([name, value]) => `${name}=${value}`)
		.join(", ");
}

/** The variables in which a launcher says who is who. */
export interface VariableSet {
	readonly launcher: Launcher;
	readonly index: string;
	readonly count: string;
	readonly localIndex?: string;
	readonly localCount?: string;
	readonly restart?: string;
	/** More that an error should show. */
	readonly also?: readonly string[];
	readonly contains: (outer: LaunchedWorker) => boolean;
}

/** Whether every variable of a set makes sense, and what they say. A count without an index says nothing: people export it for later. */
export function readSet(environment: LaunchEnvironment, set: VariableSet): Finding | undefined {
	const { launcher, contains } = set;
	const seen = seenOf(environment, [set.index, set.count, ...(set.also ?? [])]);
	if (!(set.index in seen)) return undefined;
	const index = numberOf(environment, set.index);
	const count = numberOf(environment, set.count);
	if (!(set.count in seen)) {
		return {
			kind: "part",
			launcher,
			seen,
			problem: `${set.index} is set, and ${set.count} is not: one of how many?`,
			hint: `Set ${set.count}, or say --worker ${index ?? "i"}/n. Unset ${set.index} if it is a leftover, or say --workers 1.`,
			isSettledByWorkers: true,
		};
	}
	if (index === undefined || count === undefined || index >= count) {
		const problem = "the first must be a whole number, and below the second";
		return { kind: "broken", launcher, seen, problem };
	}
	const local = readLocal(environment, set);
	const restart = set.restart === undefined ? undefined : numberOf(environment, set.restart);
	return { kind: "whole", identity: { index, count, launcher, local, restart }, seen, contains };
}

/** Which of this machine's processes it is. Not worth an error: it only divides the machine. */
function readLocal(environment: LaunchEnvironment, set: VariableSet): Place | undefined {
	if (set.localIndex === undefined || set.localCount === undefined) return undefined;
	return placeOf(numberOf(environment, set.localIndex), numberOf(environment, set.localCount));
}

/** Both numbers as a place, if they are one. */
export function placeOf(index: number | undefined, count: number | undefined): Place | undefined {
	if (index === undefined || count === undefined || index >= count) return undefined;
	return { index, count };
}
