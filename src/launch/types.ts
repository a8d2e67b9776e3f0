/** Environment variables, as in `process.env`. An empty one counts as unset. */
export type LaunchEnvironment = { readonly [name: string]: string | undefined };

/**
 * Who started this process and told it which of several it is. `alone`: nobody did. `flag`: the command line says it.
 * `rank-variables`: somebody who sets `RANK` and `WORLD_SIZE` and leaves no other trace.
 */
export type Launcher =
	| "alone"
	| "flag"
	| "torchrun"
	| "openmpi"
	| "mpich"
	| "ray"
	| "kubeflow-v1"
	| "kubeflow-v2"
	| "kubernetes"
	| "slurm"
	| "skypilot"
	| "rank-variables";

/** A place among several: `0 ≤ index < count`. */
export interface Place {
	readonly index: number;
	readonly count: number;
}

/** Which worker of a job this process is. Workers are processes of a conversion; they have nothing to do with ranks of the training job. */
export interface LaunchedWorker extends Place {
	/** Among the workers of this machine, when the launcher tells. */
	readonly local?: Place | undefined;
	/** Whether the launcher has given this process cores of its own, so that the workers of a machine need not divide them. @default false */
	readonly isBound?: boolean | undefined;
	readonly launcher: Launcher;
	/** How often the launcher has started the job again, when it tells. */
	readonly restart?: number | undefined;
}

/** A variable that was looked at, as it was set. */
export type SeenVariables = { readonly [name: string]: string };

/** What one launcher's variables say. */
export type Finding =
	/** All there is to know. */
	| {
			readonly kind: "whole";
			readonly identity: LaunchedWorker;
			readonly seen: SeenVariables;
			/** Whether that launcher may well have been started by another one, which then counts something else than workers. */
			readonly contains: (outer: LaunchedWorker) => boolean;
	  }
	/** This process seems to be one of several, but the variables do not say which, or of how many. */
	| {
			readonly kind: "part";
			readonly launcher: Launcher;
			readonly seen: SeenVariables;
			/** What is wrong, without the variables. */
			readonly problem: string;
			readonly hint: string;
			/** Whether `--workers` settles it: then this process is the only one of its kind. */
			readonly isSettledByWorkers: boolean;
	  }
	/** Values that make no sense, whatever else is set. */
	| {
			readonly kind: "broken";
			readonly launcher: Launcher;
			readonly seen: SeenVariables;
			readonly problem: string;
	  };

/** Looks for one launcher's variables; `undefined` when there are none that say anything. */
export type Detector = (environment: LaunchEnvironment) => Finding | undefined;
