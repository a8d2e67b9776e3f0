// What every stage does with its pairs.
import { median, ratios, spread } from "../lib/pairs.mjs";
import { makeRow } from "../lib/results.mjs";

/**
 * One run of one variant.
 *
 * @typedef {object} Cost
 * @property {number} cpuSeconds user and system
 * @property {number} wallSeconds from start to end
 */

/** @param {Cost} usage */
export function costOf({ cpuSeconds, wallSeconds }) {
	return { cpuSeconds, wallSeconds };
}

/**
 * Rows that compare `ours` with `reference`: bytes per CPU-second, with the goal, and bytes per second of wall time, without one.
 * More than 1: ours is better.
 *
 * @param {object} options
 * @param {string} options.what `pipeline HTTP`
 * @param {readonly Record<string, Cost>[]} options.runs of the same bytes on both sides
 * @param {number} options.bytes
 * @param {string} [options.ours] Default: `ours`.
 * @param {string} options.reference
 * @param {string | null} [options.goal]
 * @param {boolean} [options.hasWall] Default: true.
 * @returns {import("../lib/results.mjs").Row[]}
 */
export function compare({
	what,
	runs,
	bytes,
	ours = "ours",
	reference,
	goal = null,
	hasWall = true,
}) {
	const kept = runs.map((run) => ({ [ours]: run[ours], [reference]: run[reference] }));
	const rate = (name, pick) => bytes / 1e9 / median(runs.map((run) => pick(run[name])));
	const row = (unit, figure, pick, wanted) => {
		const found = ratios(runs, reference, ours, pick);
		const { median: value, min, max } = spread(found);
		const rates = { [ours]: rate(ours, pick), [reference]: rate(reference, pick) };
		const facts = { min, max, rates, rateUnit: unit };
		return makeRow({ figure, value, unit: "ratio", goal: wanted, runs: kept, ...facts });
	};
	const name = `${what}: ${ours} / ${reference}`;
	const rows = [
		row("GB per CPU-second", `${name}, bytes per CPU-second`, (run) => run.cpuSeconds, goal),
	];
	if (hasWall) rows.push(row("GB/s", `${name}, bytes per second`, (run) => run.wallSeconds, null));
	return rows;
}

/** @throws {Error} naming `what` when the two differ */
export function assertEqual(what, got, expected) {
	if (JSON.stringify(got) !== JSON.stringify(expected)) throw new NotEqualError(what);
}

/** Outputs that must be equal are not: no time counts then. */
export class NotEqualError extends Error {
	constructor(what) {
		super(`${what} differ`);
	}
}
