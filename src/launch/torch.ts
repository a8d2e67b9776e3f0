import type { Detector, Finding, LaunchedWorker } from "./types.ts";
import { numberOf, readSet, seenOf, valueOf } from "./variables.ts";

const RANKS = { index: "RANK", count: "WORLD_SIZE" } as const;

/**
 * `torchrun` and everything built on its agent (`accelerate launch`). It starts its processes on every node itself, and knows them all.
 * Inside another launcher there is one agent for each of that launcher's processes: `GROUP_WORLD_SIZE` counts them. Several processes
 * whose agents know nothing of each other are a job each.
 *
 * @see torch/distributed/elastic/agent/server/local_elastic_agent.py (2.13): `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`,
 *   `GROUP_RANK`, `GROUP_WORLD_SIZE`, `TORCHELASTIC_RUN_ID`, `TORCHELASTIC_RESTART_COUNT`
 */
export const detectTorchrun: Detector = (environment) => {
	if (valueOf(environment, "TORCHELASTIC_RUN_ID") === undefined) return undefined;
	const agents = numberOf(environment, "GROUP_WORLD_SIZE");
	return readSet(environment, {
		...RANKS,
		launcher: "torchrun",
		localIndex: "LOCAL_RANK",
		localCount: "LOCAL_WORLD_SIZE",
		restart: "TORCHELASTIC_RESTART_COUNT",
		also: ["GROUP_WORLD_SIZE", "TORCHELASTIC_RUN_ID"],
		contains: () => agents === undefined || agents > 1,
	});
};

/**
 * `RANK` and `WORLD_SIZE` set by somebody else than torchrun: Kubeflow's PyTorchJob, Ray Train, DeepSpeed's launcher, a script.
 *
 * @see kubeflow/training-operator pkg/controller.v1/pytorch/envvar.go: `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, one process a pod
 * @see ray-project/ray python/ray/train/torch/config.py: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`
 * @see ray-project/ray, runtime environments: every worker process has `RAY_RAYLET_PID` and `RAY_JOB_ID`
 */
export const detectRankVariables: Detector = (environment) => {
	if (valueOf(environment, "TORCHELASTIC_RUN_ID") !== undefined) return undefined;
	if (isKubeflowNode(environment)) return undefined;
	const launcher = whoSetsRanks(environment);
	const finding = readSet(environment, {
		...RANKS,
		launcher,
		localIndex: "LOCAL_RANK",
		localCount: "LOCAL_WORLD_SIZE",
		also: ["LOCAL_RANK", "MASTER_ADDR"],
		contains: () => false,
	});
	if (finding?.kind !== "whole") return finding;
	const { identity } = finding;
	const contains = (outer: LaunchedWorker): boolean =>
		launcher === "ray" ? identity.count > 1 : isBlockOf(identity, outer);
	return { ...finding, contains };
};

function whoSetsRanks(
	environment: Parameters<Detector>[0],
): "ray" | "kubeflow-v1" | "rank-variables" {
	const isSet = (name: string): boolean => valueOf(environment, name) !== undefined;
	if (isSet("RAY_RAYLET_PID") || isSet("RAY_JOB_ID")) return "ray";
	// In a pod with a master, and not one of several processes of it.
	if (isSet("KUBERNETES_SERVICE_HOST") && isSet("MASTER_ADDR") && !isSet("LOCAL_RANK")) {
		return "kubeflow-v1";
	}
	return "rank-variables";
}

/** Whether the outer launcher started nodes, and the inner one as many processes on each, in order. */
function isBlockOf(inner: LaunchedWorker, outer: LaunchedWorker): boolean {
	const perNode = inner.count / outer.count;
	return Number.isInteger(perNode) && Math.floor(inner.index / perNode) === outer.index;
}

/**
 * Kubeflow, where the container's own program is this one: a process for each pod. `PET_NPROC_PER_NODE` is for torchrun, which tells its
 * processes by itself.
 *
 * @see kubeflow/trainer pkg/runtime/framework/plugins/torch/torch.go: `PET_NODE_RANK` (the job's completion index), `PET_NNODES`
 * @see kubeflow/training-operator pkg/controller.v1/pytorch/envvar.go: the same, and `RANK`, `WORLD_SIZE`; an elastic job has
 *   `PET_NNODES=1:4` and no `PET_NODE_RANK`
 */
export const detectKubeflow: Detector = (environment) => {
	if (valueOf(environment, "TORCHELASTIC_RUN_ID") !== undefined) return undefined;
	if (valueOf(environment, "PET_NNODES")?.includes(":") === true) return elasticNode(environment);
	return readSet(environment, {
		launcher: isKubeflowNode(environment) ? "kubeflow-v1" : "kubeflow-v2",
		index: "PET_NODE_RANK",
		count: "PET_NNODES",
		also: ["PET_NPROC_PER_NODE", "RANK", "WORLD_SIZE"],
		contains: () => false,
	});
};

/** A pod of an elastic job: only torchrun's rendezvous gives it a number. */
function elasticNode(environment: Parameters<Detector>[0]): Finding {
	return {
		kind: "part",
		launcher: "kubeflow-v1",
		seen: seenOf(environment, ["PET_NNODES", "PET_NODE_RANK", "PET_RDZV_ENDPOINT"]),
		problem: "the number of nodes may change",
		hint: "Start the command with torchrun, which numbers its processes, or give the job a fixed number of nodes.",
		isSettledByWorkers: false,
	};
}

/** Whether `RANK` and `WORLD_SIZE` are those of Kubeflow v1, which say again in ranks what `PET_…` says in nodes. */
function isKubeflowNode(environment: Parameters<Detector>[0]): boolean {
	const rank = numberOf(environment, "RANK");
	const nodes = numberOf(environment, "PET_NNODES");
	const ranks = numberOf(environment, "WORLD_SIZE");
	if (rank === undefined || nodes === undefined || nodes === 0 || ranks === undefined) return false;
	return rank === numberOf(environment, "PET_NODE_RANK") && ranks % nodes === 0;
}
