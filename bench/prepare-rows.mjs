// Figures of prepare.mjs from its raw runs.
import { median, spread } from "./lib/pairs.mjs";
import { makeRow, makeSkip } from "./lib/results.mjs";

/** What one run of one variant was: see `runOnce` in prepare.mjs. @typedef {Record<string, any>} Run */

/**
 * @typedef {object} Case
 * @property {string} modelName as in the settings
 * @property {string} networkName as in networks.mjs
 * @property {number} neededBytes of the safetensors files
 * @property {readonly Record<string, Run>[]} runs one record per round, by variant
 */

/** The Python routes, what must be shown of each, and how it is told. */
const RIVALS = [
	{ name: "A bf16", goal: ">= 4" },
	{ name: "A fp32", goal: ">= 7" },
	{ name: "B", goal: ">= 2.5" },
];

/** Building the random model is a part of the script that a better script would not have. */
function withoutBuild({ wallSeconds, steps }) {
	return wallSeconds - steps.build;
}

function ratioRow(figure, goal, ratios) {
	const { median: value, min, max } = spread(ratios);
	return makeRow({ figure, value, unit: "×", goal, runs: ratios, min, max });
}

/**
 * The rows of one model on one network.
 *
 * @param {Case} measured
 * @param {{ pythonSkip: string | undefined, isQuick: boolean }} how `pythonSkip`: why there are no Python rivals
 * @returns {import("./lib/results.mjs").Row[]}
 */
export function prepareRows(
	{ modelName, networkName, neededBytes, runs },
	{ pythonSkip, isQuick },
) {
	const title = (text) => `prepare, ${modelName}, ${networkName}: ${text}`;
	const names = Object.keys(runs[0]);
	const wall = (run) => run.wallSeconds;
	// A small model's times are those of starting programs: shown, but bound by no goal.
	const goalOf = (goal) => (isQuick ? null : goal);
	return [
		...floorRows(title, runs, goalOf),
		...RIVALS.flatMap(({ name, goal }) =>
			rivalRows(title, runs, { name, goal: goalOf(goal), pythonSkip }),
		),
		...names.map((name) => {
			const values = runs.map((run) => wall(run[name]));
			const { median: value, min, max } = spread(values);
			return makeRow({ figure: title(`${name}, wall`), value, unit: "s", runs: values, min, max });
		}),
		...names.map((name) => {
			const values = runs.map((run) => run[name].cpuSeconds);
			return makeRow({
				figure: title(`${name}, CPU`),
				value: median(values),
				unit: "CPU-s",
				runs: values,
			});
		}),
		...names.map((name) => {
			const values = runs.map((run) => run[name].treePeakPrivateBytes / 1e6);
			return makeRow({
				figure: title(`${name}, peak memory`),
				value: median(values),
				unit: "MB",
				runs: values,
			});
		}),
		...names
			.filter((name) => name.startsWith("ours"))
			.flatMap((name) => ourRows(title, runs, { name, networkName, neededBytes })),
		...names
			.filter((name) => !name.startsWith("ours"))
			.flatMap((name) => {
				const values = runs.map((run) => run[name].extraDiskBytes / neededBytes);
				return makeRow({
					figure: title(`${name}, extra disk`),
					value: median(values),
					unit: "of the model",
					runs: values,
				});
			}),
	];
}

function floorRows(title, runs, goalOf) {
	if (runs[0]["curl to null"] === undefined)
		return [makeSkip(title("ours / floor"), "curl is not installed", goalOf("<= 1.25"))];
	const floor = (run, disk) => Math.max(run["curl to null"].wallSeconds, run[disk].wallSeconds);
	const above = (disk) => runs.map((run) => run["ours"].wallSeconds / floor(run, disk));
	return [
		ratioRow(title("ours / floor"), goalOf("<= 1.25"), above("dd")),
		ratioRow(title("ours / floor with dd direct"), null, above("dd direct")),
	];
}

function rivalRows(title, runs, { name, goal, pythonSkip }) {
	const figure = title(`${name} / ours`);
	if (runs[0][name] === undefined) return [makeSkip(figure, pythonSkip ?? "was not run", goal)];
	const ratios = runs.map((run) => run[name].wallSeconds / run["ours"].wallSeconds);
	const rows = [ratioRow(figure, goal, ratios)];
	if (runs[0][name].steps?.build === undefined) return rows;
	const cheaper = runs.map((run) => withoutBuild(run[name]) / run["ours"].wallSeconds);
	return [...rows, ratioRow(title(`${name} without building the model / ours`), null, cheaper)];
}

function ourRows(title, runs, { name, networkName, neededBytes }) {
	const served = runs.map((run) => run[name].servedBytes / neededBytes);
	const extra = runs.map((run) => run[name].extraDiskBytes / neededBytes);
	const requests = runs.map((run) => run[name].cdnRequests);
	// A cut range is fetched again: there the figure is shown, and bound by no goal.
	const goal = networkName === "far" ? null : "= 1";
	return [
		makeRow({
			figure: title(`${name}, bytes served / needed`),
			value: twoDigits(Math.max(...served)),
			unit: "×",
			goal,
			runs: served,
		}),
		makeRow({
			figure: title(`${name}, requests`),
			value: median(requests),
			unit: "requests",
			runs: requests,
		}),
		makeRow({
			figure: title(`${name}, extra disk`),
			value: threeDigits(Math.max(...extra)),
			unit: "of the model",
			goal: "= 0",
			runs: extra,
		}),
	];
}

function twoDigits(value) {
	return Number(value.toFixed(2));
}

/** The journal takes a few blocks. */
function threeDigits(value) {
	return Math.abs(Number(value.toFixed(3)));
}
