import type { CheckpointComparison, Problem, SourceComparison } from "../index.ts";
import { formatBytes, formatCount, formatDuration, plural } from "./format.ts";

/** What comparing a checkpoint with its source found out, for people. At most `limit` problems. No line break at the end. */
export function renderSourceComparison(report: SourceComparison, limit: number): string {
	const { directory, repo, commit, entries, allEntries, comparedBytes, dataBytes } = report;
	const { recipeKinds, allRecipeKinds, fetchedBytes, headerBytes, requests, seconds } = report;
	const name = commit === "local" ? repo : `${repo} @ ${commit.slice(0, 12)}`;
	return render(report, limit, `${directory}: ${verdict(report, "what its source makes")}`, [
		["source", `${name}, ${agreement(report)}`],
		[
			"compared",
			`${formatBytes(comparedBytes)} of ${formatBytes(dataBytes)}, in ${formatCount(entries)} of ${plural(allEntries, "entry", "entries")}; ${recipeKinds} of ${plural(allRecipeKinds, "kind")} of recipes`,
		],
		[
			"fetched",
			`${formatBytes(fetchedBytes)} in ${plural(requests, "request")}, and ${formatBytes(headerBytes)} of headers; ${formatDuration(seconds)}`,
		],
		[
			"sample",
			report.seed === undefined
				? "all"
				: `seed ${report.seed} (--seed ${report.seed} looks at the same again)`,
		],
	]);
}

function agreement({ hashedFiles, sourceFiles }: SourceComparison): string {
	const headers = "headers as in the manifest";
	if (hashedFiles === 0) return headers;
	return `${headers}, SHA-256 of ${hashedFiles} of ${plural(sourceFiles, "file")} as the Hub states it`;
}

/** What comparing two checkpoints found out, for people. At most `limit` problems. No line break at the end. */
export function renderCheckpointComparison(report: CheckpointComparison, limit: number): string {
	const { directory, other, tensors, equalTensors, comparedBytes, fetchedBytes, seconds } = report;
	return render(report, limit, `${directory}: ${verdict(report, `what ${other} holds`)}`, [
		[
			"tensors",
			`${formatCount(equalTensors)} of ${formatCount(tensors.length)} equal, bit for bit`,
		],
		[
			"compared",
			`${formatBytes(comparedBytes)} with ${formatBytes(fetchedBytes)} of the other; ${formatDuration(seconds)}`,
		],
	]);
}

interface Report {
	readonly problems: readonly Problem[];
	readonly problemCount: number;
	readonly differentElements: number;
	readonly notes: readonly string[];
}

function verdict({ problemCount, differentElements }: Report, what: string): string {
	if (problemCount === 0) return `it holds ${what}`;
	const elements = differentElements > 0 ? `, ${plural(differentElements, "element")} differ` : "";
	return `${plural(problemCount, "problem")}${elements}`;
}

function render(
	{ problems, problemCount, notes }: Report,
	limit: number,
	title: string,
	rows: readonly (readonly [string, string])[],
): string {
	const shown = problems.slice(0, limit).map(({ kind, message }) => `${kind}: ${message}`);
	const rest = problemCount - shown.length;
	const more = `… and ${plural(rest, "more problem")}; --limit 0 shows all, --json tells programs`;
	const sections = [
		rows.map(([name, text]) => `${name.padEnd(10)}${text}`),
		notes.map((note) => `note: ${note}`),
		rest > 0 ? [...shown, more] : shown,
	];
	return [title, ...sections.flatMap((lines) => (lines.length === 0 ? [] : ["", ...lines]))].join(
		"\n",
	);
}
