import { at } from "../core/shape.ts";
import type { RunState } from "./run-state.ts";
import type { StagedTile } from "./staged-tile.ts";

/**
 * Receives a tile's ranges into staging memory, one after the other, in requests of at most `limits.requestBytes` that run
 * side by side. Settles only when no request writes to `staging` any more, also when one fails.
 *
 * @throws `scope.signal.reason` when a request failed or the run was aborted.
 */
export async function fetchTile(run: RunState, { ranges, staging }: StagedTile): Promise<void> {
	const { plan, source, scope, counters } = run;
	const { requestBytes } = plan.limits;
	const requests: Promise<boolean>[] = [];
	for (const range of ranges) {
		const file = at(plan.source.files, range.file).path;
		for (let start = range.start; start < range.end; start += requestBytes) {
			const end = Math.min(range.end, start + requestBytes);
			const place = range.stagingOffset + start - range.start;
			const into = staging.subarray(place, place + end - start);
			counters.requests++;
			requests.push(
				scope.run(async () => {
					await source.readInto({ file, start, end }, into, { signal: scope.signal });
					counters.fetchedBytes += end - start;
				}),
			);
		}
	}
	await Promise.all(requests);
	scope.signal.throwIfAborted();
}
