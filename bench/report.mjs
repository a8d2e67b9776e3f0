// All figures in one file: what the goals ask for first, each as the worst of its cases, then every case.
//
//   node bench/report.mjs [--quick]
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { formatRows } from "./lib/results.mjs";
import { readSettings, resultName } from "./lib/settings.mjs";
import { mergeRows } from "./report-rows.mjs";

const PARTS = ["stages", "kernels", "prepare", "use", "memory", "plan", "verify"];

const settings = readSettings();
const fileOf = (name) => new URL(`results/${resultName(name, settings)}.json`, import.meta.url);

/** Exactly the fields that readers of the file rely on, and why there is no value. */
function toFigure({ figure, value, unit, goal, holds, runs, skipped }) {
	return { figure, value, unit, goal, holds, runs, ...(skipped === undefined ? {} : { skipped }) };
}

const rows = [];
for (const part of PARTS) {
	const file = fileOf(part);
	if (!existsSync(file)) {
		console.log(`report: no results of ${part}`);
		continue;
	}
	const { date, commit, rows: found = [] } = JSON.parse(await readFile(file, "utf8"));
	// Parts may be measured one by one: a reader must see which are older.
	console.log(`report: ${part} of ${date}, commit ${commit}`);
	rows.push(...found);
}
const merged = mergeRows(rows);
await writeFile(fileOf("latest"), `${JSON.stringify(merged.map(toFigure), undefined, "\t")}\n`);
console.log(
	formatRows(merged.filter(({ goal, skipped }) => goal !== null || skipped !== undefined)),
);
