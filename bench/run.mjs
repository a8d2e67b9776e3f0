// The whole benchmark: stages, kernels, prepare, use, memory, plan, verify, then the report and the plot.
//
//   npm run bench [-- --quick | --full]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SCRIPTS = [
	"stages",
	"kernels",
	"prepare",
	"use",
	"memory",
	"plan",
	"verify",
	"report",
	"plot",
];

const args = process.argv.slice(2);
const started = performance.now();
const failed = [];
for (const name of SCRIPTS) {
	const file = fileURLToPath(new URL(`${name}.mjs`, import.meta.url));
	if (!existsSync(file)) throw new Error(`${file} is missing`);
	console.log(`\n== ${name} (${((performance.now() - started) / 1000).toFixed(0)} s)`);
	// The stages have no models, networks or rounds to choose.
	const given = name === "stages" ? args.filter((arg) => arg === "--quick") : args;
	const { status } = spawnSync(process.execPath, [file, ...given], { stdio: "inherit" });
	if (status !== 0) failed.push(name);
}
console.log(`\nbenchmark: ${((performance.now() - started) / 1000).toFixed(0)} s`);
if (failed.length > 0) {
	console.error(`failed: ${failed.join(", ")}`);
	process.exitCode = 1;
}
