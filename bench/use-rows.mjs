// Figures of use.mjs from its raw loads.
import { spread } from "./lib/pairs.mjs";
import { makeRow } from "./lib/results.mjs";

/**
 * One checkpoint on one mesh.
 *
 * @typedef {object} Load
 * @property {string} name what was loaded
 * @property {number} world ranks
 * @property {"fsdp" | "tp"} kind how the ranks cut the parameters
 * @property {number[]} seconds of every round, page cache warm
 * @property {number} [coldSeconds] once, after the files left the page cache
 * @property {number[]} ownedBytes by rank
 * @property {number[]} [readBytes] by rank; not of files that are mapped
 */

/**
 * @param {{ modelName: string, loads: readonly Load[] }} measured
 * @returns {import("./lib/results.mjs").Row[]}
 */
export function useRows({ modelName, loads }) {
	return loads.flatMap((load) => {
		const title = `use, ${modelName}, ${load.kind} ${load.world}: ${load.name}`;
		const { median: value, min, max } = spread(load.seconds);
		return [
			...(load.readBytes === undefined ? [] : [readRow(title, load)]),
			makeRow({ figure: `${title}, wall`, value, unit: "s", runs: load.seconds, min, max }),
			...(load.coldSeconds === undefined ? [] : [coldRow(title, load)]),
		];
	});
}

function coldRow(title, { coldSeconds }) {
	const runs = [coldSeconds];
	return makeRow({ figure: `${title}, wall, cold`, value: coldSeconds, unit: "s", runs });
}

/** Of the rank that reads most for what it owns. */
function readRow(title, { name, readBytes, ownedBytes }) {
	const runs = readBytes.map((bytes, rank) => bytes / ownedBytes[rank]);
	return makeRow({
		figure: `${title}, bytes read / owned, worst rank`,
		value: Math.max(...runs),
		unit: "×",
		goal: name === "ours" ? "<= 1.02" : null,
		runs,
	});
}
