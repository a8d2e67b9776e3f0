import type { Problem, VerifyReport } from "../index.ts";
import { formatBytes, formatCount, formatDuration, plural } from "./format.ts";

const CHECKED: { readonly [L in VerifyReport["level"]]: string } = {
	quick: "structure, containers and pickles; not the data",
	data: "structure, containers and pickles; all data against its CRC-32",
	hashes: "structure, containers and pickles; all data against its CRC-32 and SHA-256",
};

/** What verifying found out, for people: what was looked at, then at most `limit` problems. No line break at the end. */
export function renderVerify(report: VerifyReport, limit: number): string {
	const { directory, level, counts, problemCount, seconds, origin } = report;
	const verdict = report.isGood ? "good" : plural(problemCount, "problem");
	const isWholeFile = level !== "quick";
	const rows: [string, string][] = [
		["checked", CHECKED[level]],
		["holds", describeContent(report)],
		[
			"read",
			`${formatBytes(counts.readBytes)} in ${formatDuration(seconds)}${isWholeFile && seconds > 0 ? `, ${formatBytes(counts.readBytes / seconds)}/s` : ""}`,
		],
		["compared", describeComparisons(report)],
		[
			"manifest",
			origin === undefined
				? "none: contents were compared with what the files say of themselves"
				: `${origin.repo} @ ${origin.commit.slice(0, 12)}, by ${origin.tool}`,
		],
	];
	return [
		`${directory}: ${verdict}`,
		"",
		...rows.map(([name, text]) => `${name.padEnd(10)}${text}`),
		...section(report.warnings.map((warning) => `warning: ${warning}`)),
		...section(renderProblems(report, limit)),
	].join("\n");
}

function section(lines: readonly string[]): readonly string[] {
	return lines.length === 0 ? [] : ["", ...lines];
}

function describeContent({ counts }: VerifyReport): string {
	const { tensors, entries, elsewhere, objects, files, fileBytes } = counts;
	return [
		plural(tensors, "tensor"),
		`${plural(entries, "entry", "entries")}${elsewhere > 0 ? ` (${formatCount(elsewhere)} on other disks)` : ""}`,
		...(objects > 0 ? [plural(objects, "other object")] : []),
		`${plural(files, "file")} of ${formatBytes(fileBytes)}`,
	].join(", ");
}

function describeComparisons({ counts }: VerifyReport): string {
	const { canonical, crcs, hashes } = counts;
	return [
		`${plural(canonical, "container")} byte for byte`,
		...(crcs > 0 ? [plural(crcs, "CRC-32")] : []),
		...(hashes > 0 ? [plural(hashes, "SHA-256")] : []),
	].join(", ");
}

function renderProblems({ problems, problemCount }: VerifyReport, limit: number): string[] {
	const shown = problems.slice(0, limit);
	const rest = problemCount - shown.length;
	return [
		...shown.map(({ kind, message, range }) => `${kind}: ${message}${formatRange(range)}`),
		...(rest > 0
			? [`… and ${plural(rest, "more problem")}; --limit 0 shows all, --json tells programs`]
			: []),
	];
}

function formatRange(range: Problem["range"]): string {
	return range === undefined ? "" : ` (bytes ${range.start} to ${range.end})`;
}

/** What to do about the problems of a report, one or two sentences. */
export function adviceFor({ problems }: VerifyReport): string {
	const kinds = new Set(problems.map(({ kind }) => kind));
	const files = new Set(problems.map(({ file }) => file).filter((file) => file !== undefined));
	if (kinds.has("code")) {
		return "Do not load it: torch would execute what its pickles name. Make the checkpoint again, and find out who changed it.";
	}
	if (kinds.size === 1 && kinds.has("stray")) {
		return "Remove the files that do not belong to it.";
	}
	if (files.size === 1 && files.has(".metadata")) {
		return "Its data files are good: copy .metadata again from where the checkpoint was written, or convert again with --overwrite.";
	}
	if (files.size === 1 && files.has("hf-stream-dcp.json")) {
		return "Loaders do not need the manifest; copy it again from where the checkpoint was written, or convert again with --overwrite.";
	}
	const named = [...files].slice(0, 3).join(", ");
	const what =
		files.size === 0
			? "it"
			: `${named}${files.size > 3 ? ` and ${files.size - 3} more files` : ""}`;
	return `Copy ${what} again from where the checkpoint was written, or convert again with --overwrite. Do not train from it as it is.`;
}
