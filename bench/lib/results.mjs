// Result rows and files.
import { mkdir, writeFile } from "node:fs/promises";
import { commitFacts, machineFacts, toolVersions } from "./machine.mjs";

const directory = new URL("../results/", import.meta.url);

/**
 * One measured figure.
 *
 * @typedef {object} Row
 * @property {string} figure what was measured
 * @property {number | null} value null when skipped
 * @property {string} unit of `value`
 * @property {string | null} goal `">= 0.9"`, `"<= 1.25"`, `"= 0"`; null for a figure that is only shown
 * @property {boolean | null} holds null without a goal
 * @property {unknown} runs the raw values behind `value`
 * @property {string} [skipped] why there is no value
 * @property {number} [min] of the ratios behind `value`; likewise `max`
 * @property {number} [max] see `min`
 * @property {Record<string, number>} [rates] medians of the variants whose ratio `value` is
 * @property {string} [rateUnit] of `rates`
 */

/** @param {number} value @param {string} goal */
function meets(value, goal) {
	const [, relation, bound] = /^(<=|>=|=) (-?[\d.]+)$/.exec(goal) ?? [];
	if (relation === undefined) throw new Error(`"${goal}" is no goal`);
	if (relation === "=") return value === Number(bound);
	return relation === ">=" ? value >= Number(bound) : value <= Number(bound);
}

/** Four digits that count: raw times have no more to say. */
function rounded(value) {
	return Number.isInteger(value) ? value : Number(value.toPrecision(4));
}

function deepRounded(value) {
	if (typeof value === "number") return rounded(value);
	if (Array.isArray(value)) return value.map(deepRounded);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, deepRounded(one)]));
}

/**
 * @param {{ figure: string, value: number, unit: string, goal?: string | null, runs: unknown, min?: number, max?: number, rates?: Record<string, number>, rateUnit?: string }} facts
 * @returns {Row}
 */
export function makeRow({ figure, value: exact, unit, goal = null, runs, ...rest }) {
	// The goal is held against what the row says: 0.99996 is shown as 1.
	const value = rounded(exact);
	const holds = goal === null ? null : meets(value, goal);
	return {
		figure,
		value,
		unit,
		goal,
		holds,
		runs: deepRounded(runs),
		...deepRounded(rest),
	};
}

/**
 * @param {string} figure
 * @param {string} reason what is missing
 * @param {string | null} [goal]
 * @returns {Row}
 */
export function makeSkip(figure, reason, goal = null) {
	return { figure, value: null, unit: "", goal, holds: null, runs: [], skipped: reason };
}

/**
 * Writes `bench/results/NAME.json`: where and when, then the rows.
 *
 * @param {string} name
 * @param {string} what one sentence
 * @param {readonly Row[]} rows
 * @param {{ python?: string, isQuick?: boolean, [fact: string]: unknown }} [facts] `python`: whose versions are named; the rest is kept as it is
 */
export async function writeResults(name, what, rows, { python, ...facts } = {}) {
	const result = {
		what,
		date: new Date().toISOString(),
		...commitFacts(),
		machine: machineFacts(),
		versions: toolVersions(python),
		...facts,
		rows,
	};
	const file = new URL(`${name}.json`, directory);
	await mkdir(new URL(".", file), { recursive: true });
	await writeFile(file, `${JSON.stringify(result, undefined, "\t")}\n`);
	return file;
}

/** @param {Row} row */
function formatRates({ rates, rateUnit }) {
	if (rates === undefined) return "";
	const each = Object.entries(rates).map(([name, rate]) => `${name} ${rate}`);
	return `  [${each.join(", ")} ${rateUnit}]`;
}

/** The rows as lines for a terminal. @param {readonly Row[]} rows */
export function formatRows(rows) {
	const width = Math.max(...rows.map(({ figure }) => figure.length));
	return rows
		.map((row) => {
			const name = row.figure.padEnd(width);
			if (row.skipped !== undefined) return `${name}  skipped: ${row.skipped}`;
			const range = row.min === undefined ? "" : ` (${row.min} … ${row.max})`;
			const goal = row.goal === null ? "" : `  goal ${row.goal}: ${row.holds ? "holds" : "MISSED"}`;
			return `${name}  ${row.value} ${row.unit}${range}${goal}${formatRates(row)}`;
		})
		.join("\n");
}
