import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { STATE_NAME } from "../../src/core/checkpoint.ts";
import { parseJournal } from "../../src/job/journal.ts";
import { MANIFEST_NAME } from "../../src/manifest/manifest.ts";
import { SUMMARY_NAME } from "../../src/job/state.ts";
import type { ConvertSummary, FoundSummary } from "../../src/index.ts";

/** The folders of the shares of the job that is unfinished in a directory. */
function sharePaths(directory: string): string[] {
	const root = join(directory, STATE_NAME);
	return namesIn(root)
		.filter((name) => name.startsWith("job."))
		.flatMap((job) =>
			namesIn(join(root, job))
				.filter((name) => name.startsWith("plan."))
				.flatMap((plan) =>
					namesIn(join(root, job, plan))
						.filter((name) => /^\d{5}$/.test(name))
						.map((share) => join(root, job, plan, share)),
				),
		);
}

/** Entries that the newest journal of every share has. */
export function journalled(directory: string): number {
	return sharePaths(directory).reduce((sum, path) => {
		const numbers = namesIn(path)
			.map((name) => Number(/^journal\.(\d+)$/.exec(name)?.[1] ?? 0))
			.filter((number) => number > 0);
		if (numbers.length === 0) return sum;
		const text = readFileSync(join(path, `journal.${Math.max(...numbers)}`), "utf8");
		return sum + (parseJournal(text)?.finished.size ?? 0);
	}, 0);
}

/** Whether a directory holds something unfinished. */
export function isUnfinished(directory: string): boolean {
	return existsSync(join(directory, STATE_NAME));
}

/** The summary of a conversion that was not finished before. */
export function done(summary: ConvertSummary | FoundSummary): ConvertSummary {
	if (summary.outcome === "found") throw new Error(`${summary.directory} was finished before`);
	return summary;
}

function namesIn(path: string): string[] {
	return existsSync(path) ? readdirSync(path) : [];
}

/** Names of a checkpoint's files, sorted, without the summary and the manifest: they say when, and differ between two runs. */
export function checkpointFiles(directory: string): string[] {
	return readdirSync(directory)
		.filter((name) => name !== SUMMARY_NAME && name !== MANIFEST_NAME)
		.toSorted();
}
