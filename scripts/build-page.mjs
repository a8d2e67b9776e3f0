// Bundles the program of the report's page into src/report/page.js, unless that is newer than all it is made of.

import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "rolldown";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const BUNDLE = "src/report/page.js";

const modified = (path) => statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;

const sources = ["src/core", "src/report", "src/report/page"].flatMap((folder) =>
	readdirSync(join(ROOT, folder))
		.filter((name) => name.endsWith(".ts"))
		.map((name) => `${folder}/${name}`),
);
const newest = Math.max(...[...sources, "scripts/build-page.mjs"].map(modified));
if (modified(BUNDLE) <= newest) {
	await build({
		input: join(ROOT, "src/report/page/main.ts"),
		platform: "browser",
		tsconfig: false,
		output: { file: join(ROOT, BUNDLE), format: "iife", minify: true },
		logLevel: "warn",
	});
}
