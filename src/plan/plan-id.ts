import type { Plan } from "./types.ts";

/**
 * The lines that make a plan what it is: two plans with the same lines write the same bytes to the same places. Limits and
 * totals are left out, but for what they did to the entries.
 *
 * @yields JSON, without line breaks.
 */
export function* identityLines(plan: Plan): Generator<string> {
	const { version, format, worldSize, family, target, source } = plan;
	yield JSON.stringify({ version, format, worldSize, family, target });
	yield JSON.stringify([source.repo, source.commit]);
	// Not the hash: a cache without a listing does not know it, and the commit says as much.
	for (const { path, bytes, headerBytes } of source.files) {
		yield JSON.stringify([path, bytes, headerBytes]);
	}
	for (const tensor of source.tensors) yield JSON.stringify(tensor);
	for (const { fqn, dtype, shape, expr } of plan.tensors) {
		yield JSON.stringify([fqn, dtype, shape, expr]);
	}
	for (const { tensor, box, file, offset, length } of plan.entries) {
		yield JSON.stringify([tensor, box.offset, box.size, file, offset, length]);
	}
}
