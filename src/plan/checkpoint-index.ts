import type { CheckpointIndex } from "../core/checkpoint.ts";
import type { Plan } from "./types.ts";

/** What `.metadata` has to say of the checkpoint a plan makes. */
export function checkpointIndexOf(plan: Plan): CheckpointIndex {
	return {
		tensors: plan.tensors.map(({ fqn, dtype, shape, firstEntry, endEntry }) => ({
			fqn,
			dtype,
			shape,
			entries: plan.entries.slice(firstEntry, endEntry),
		})),
		objects: [],
	};
}
