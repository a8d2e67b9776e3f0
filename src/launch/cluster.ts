import type { Detector } from "./types.ts";
import { readSet, seenOf, valueOf } from "./variables.ts";

/** How many workers the job has, for launchers that do not tell: set by the user. */
export const WORKERS_VARIABLE = "HF_STREAM_DCP_WORKERS";

/**
 * A pod of an Indexed Job. Kubernetes tells it which it is, and nobody of how many. In a JobSet every child Job counts from 0 again, so
 * that a JobSet of several child Jobs needs `--worker`, made of the annotation `jobset.sigs.k8s.io/job-index` and the completion index.
 *
 * @see https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode `JOB_COMPLETION_INDEX`
 * @see kubernetes-sigs/jobset api/jobset/v1alpha2/jobset_types.go: labels and annotations, no variables
 */
export const detectKubernetes: Detector = (environment) => {
	const finding = readSet(environment, {
		launcher: "kubernetes",
		index: "JOB_COMPLETION_INDEX",
		count: WORKERS_VARIABLE,
		contains: () => false,
	});
	if (finding?.kind === "part") {
		return {
			...finding,
			problem: "this is a pod of an Indexed Job, and Kubernetes does not say of how many",
			hint: `Set ${WORKERS_VARIABLE} to the Job's completions, or say --worker "$(JOB_COMPLETION_INDEX)/n" in the container's args.`,
			// Each pod would start as many.
			isSettledByWorkers: false,
		};
	}
	if (finding === undefined && valueOf(environment, WORKERS_VARIABLE) !== undefined) {
		return {
			kind: "part",
			launcher: "kubernetes",
			seen: seenOf(environment, [WORKERS_VARIABLE]),
			problem: `${WORKERS_VARIABLE} says how many workers there are, and nothing says which this is`,
			hint: "Give the Job completionMode: Indexed, or say --worker i/n.",
			isSettledByWorkers: false,
		};
	}
	return finding;
};

/**
 * A node of a SkyPilot task, which runs the same command on each.
 *
 * @see https://docs.skypilot.co/en/latest/running-jobs/environment-variables.html `SKYPILOT_NODE_RANK`, `SKYPILOT_NUM_NODES`
 */
export const detectSkypilot: Detector = (environment) =>
	readSet(environment, {
		launcher: "skypilot",
		index: "SKYPILOT_NODE_RANK",
		count: "SKYPILOT_NUM_NODES",
		contains: () => false,
	});
