// The picture in the README and in docs/benchmarks.md: docs/bench.svg from results/latest.json.
//
//   node bench/plot.mjs [--quick]
import { readFile, writeFile } from "node:fs/promises";
import { renderChart } from "./chart.mjs";
import { readSettings, resultName } from "./lib/settings.mjs";

const settings = readSettings();
const source = new URL(`results/${resultName("latest", settings)}.json`, import.meta.url);
const target = settings.isQuick
	? new URL("results/quick/bench.svg", import.meta.url)
	: new URL("../docs/bench.svg", import.meta.url);

const rows = JSON.parse(await readFile(source, "utf8"));
const chart = renderChart(rows);
if (chart === undefined) console.log("plot: there are no results of prepare or use to show");
else {
	await writeFile(target, chart);
	console.log(`plot: ${target.pathname}`);
}
