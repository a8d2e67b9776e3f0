import type { FamilyReport } from "../index.ts";
import { formatCount, formatTable, plural } from "./format.ts";
import { describeSource } from "./render-plan.ts";
import { summariseNotes } from "./summarise-notes.ts";

/** A report for people; no line break at the end. */
export function renderFamilyReport(report: FamilyReport, chosen: string | undefined): string {
	const { repo, commit, sourceKind, sourceTensors, target, targetTensors, coverage } = report;
	const family = report.family ?? "none";
	const rows = [
		[
			"source",
			`${describeSource({ repo, commit })} (${sourceKind}): ${plural(sourceTensors, "tensor")}; headers only`,
		],
		["family", chosen === undefined || chosen === family ? family : `${family} (${chosen})`],
		...(target === undefined
			? []
			: [
					[
						"target",
						targetTensors === undefined ? target : `${target}: ${plural(targetTensors, "tensor")}`,
					],
				]),
	];
	if (report.ok && coverage !== undefined) {
		rows.push(["used", `${plural(coverage.used, "source tensor")}, each element exactly once`]);
		for (const line of summariseNotes(report.tied)) rows.push(["tied", line]);
		for (const line of summariseNotes(report.dropped)) rows.push(["dropped", line]);
		for (const line of addedLines(report.synthesised)) rows.push(["added", line]);
		rows.push(
			["proven", "names, shapes, that no element is lost or doubled, that every key has a layout"],
			["not proven", "that values are in the order the trainer wants: compare logits once"],
		);
	}
	const problems = report.problems.map(({ code, message, hint }) =>
		[`${code}: ${message}`, ...(hint === undefined ? [] : [`hint: ${hint}`])].join("\n"),
	);
	return [formatTable(rows), ...problems].join("\n\n");
}

function addedLines(names: readonly string[]): readonly string[] {
	const [first] = names;
	if (first === undefined) return [];
	const others = names.length > 1 ? ", …" : "";
	return [`${formatCount(names.length)} that no source has (${first}${others})`];
}
