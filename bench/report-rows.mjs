// The figures that the goals are about, from the rows of all scripts.
import { makeRow } from "./lib/results.mjs";

/** @typedef {import("./lib/results.mjs").Row} Row */

/**
 * One figure with a goal; `cases` matches the rows it is the worst of, and `isHighBad` says which end is the worst.
 *
 * @typedef {{ figure: string, cases: RegExp, isHighBad: boolean }} Summary
 */

/** @type {readonly Summary[]} */
const SUMMARIES = [
	{
		figure: "bytes served / bytes needed",
		cases: /^prepare, .*: ours.*, bytes served \/ needed$/,
		isHighBad: true,
	},
	...["HTTP", "TLS"].map((route) => ({
		figure: `receive→crc→pwrite pipeline, ${route}: bytes per CPU-second, ours / C`,
		cases: new RegExp(`^pipeline ${route}: .* / C .*, bytes per CPU-second$`),
		isHighBad: false,
	})),
	{
		figure: "value kernels: bytes per CPU-second, ours / torch",
		cases: /^kernel .*: ours \/ torch, bytes per CPU-second$/,
		isHighBad: false,
	},
	{ figure: "prepare: ours / floor", cases: /^prepare, .*: ours \/ floor$/, isHighBad: true },
	{
		figure: "prepare: (A) in bf16 / ours",
		cases: /^prepare, .*: A bf16 \/ ours$/,
		isHighBad: false,
	},
	{
		figure: "prepare: (A) in its fp32 default / ours",
		cases: /^prepare, .*: A fp32 \/ ours$/,
		isHighBad: false,
	},
	{ figure: "prepare: (B) / ours", cases: /^prepare, .*: B \/ ours$/, isHighBad: false },
	{
		figure: "peak RSS, one thread, default budget",
		cases: /^memory, .*default budget: peak RSS$/,
		isHighBad: true,
	},
	{
		figure: "peak RSS, one thread, --memory 128MiB",
		cases: /^memory, .*128MiB: peak RSS$/,
		isHighBad: true,
	},
	{ figure: "extra disk", cases: /^prepare, .*: ours.*, extra disk$/, isHighBad: true },
	{
		figure: "load afterwards: bytes read / bytes owned",
		cases: /^use, .*: ours, bytes read \/ owned/,
		isHighBad: true,
	},
];

/**
 * The worst of the cases that have a value and the summary's goal; nothing when there is none.
 *
 * @param {Summary} summary
 * @param {readonly Row[]} rows
 * @returns {Row[]}
 */
function summarise({ figure, cases, isHighBad }, rows) {
	const found = rows.filter(
		(row) => cases.test(row.figure) && row.value !== null && row.goal !== null,
	);
	if (found.length === 0) return [];
	const worst = found.reduce((a, b) => (isHighBad === b.value > a.value ? b : a));
	const { value, unit, goal } = worst;
	const runs = found.map((row) => ({ figure: row.figure, value: row.value }));
	return [makeRow({ figure: `${figure}, worst case`, value, unit, goal, runs })];
}

/**
 * Summaries, then all rows as they are.
 *
 * @param {readonly Row[]} rows
 * @returns {Row[]}
 */
export function mergeRows(rows) {
	return [...SUMMARIES.flatMap((summary) => summarise(summary, rows)), ...rows];
}
