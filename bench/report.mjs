// All figures in one file: what the goals ask for first, each as the worst of its cases, then every case.
//
//   node bench/report.mjs [--quick]
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { mergeRows } from "./report-rows.mjs";
import { formatRows } from "./lib/results.mjs";
import { readSettings, resultName } from "./lib/settings.mjs";

const PARTS = ["stages", "prepare", "use", "memory"];

const settings = readSettings();
const fileOf = (name) => new URL(`results/${resultName(name, settings)}.json`, import.meta.url);

const rows = [];
for (const part of PARTS) {
	const file = fileOf(part);
	if (existsSync(file)) rows.push(...JSON.parse(await readFile(file, "utf8")).rows);
	else console.log(`report: no results of ${part}`);
}
const merged = mergeRows(rows);
await writeFile(fileOf("latest"), `${JSON.stringify(merged.map(toFigure), undefined, "\t")}\n`);
console.log(
	formatRows(merged.filter(({ goal, skipped }) => goal !== null || skipped !== undefined)),
);

/** Exactly the fields that readers of the file rely on, and why there is no value. */
function toFigure({ figure, value, unit, goal, holds, runs, skipped }) {
	return { figure, value, unit, goal, holds, runs, ...(skipped === undefined ? {} : { skipped }) };
}
