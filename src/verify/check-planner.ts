import type { ReadIndex } from "../dcp/checkpoint-reader.ts";
import { quote } from "../dcp/corrupt.ts";
import type { Problem } from "./problem.ts";

/**
 * Whether the planner data of `.metadata`, which says where in the nested state dict each key belongs, fits its keys.
 *
 * @see torch 2.13 `torch/distributed/checkpoint/_nested_dict.py` `flatten_state_dict`: a key is its path, joined by dots
 */
export function checkPlannerPaths({ tensors, objects, plannerPaths }: ReadIndex): Problem[] {
	if (plannerPaths.length === 0) return [];
	const problems: Problem[] = [];
	const add = (fqn: string, message: string): void => {
		problems.push({ kind: "metadata", message, fqn, file: ".metadata" });
	};
	const paths = new Map(plannerPaths.map(({ fqn, path }) => [fqn, path]));
	for (const { fqn } of [...tensors, ...objects]) {
		const path = paths.get(fqn);
		paths.delete(fqn);
		if (path === undefined) add(fqn, `the planner data has no path for ${quote(fqn)}`);
		else if (path.join(".") !== fqn) {
			add(fqn, `the planner data has the path ${quote(path.join("."))} for ${quote(fqn)}`);
		}
	}
	for (const fqn of paths.keys())
		add(fqn, `the planner data has a path for ${quote(fqn)}, which is no key`);
	return problems;
}
