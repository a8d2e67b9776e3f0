import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

test("the npm package holds the program and its documents, and nothing else", async () => {
	const { stdout } = await promisify(execFile)(
		"npm",
		["pack", "--dry-run", "--json", "--ignore-scripts"],
		{ cwd: ROOT },
	);
	const [packed] = JSON.parse(stdout) as { readonly files: { readonly path: string }[] }[];
	const paths = packed?.files.map(({ path }) => path) ?? [];
	const kernels = "dist/src/stream/wasm/kernels.wasm";
	const page = ["dist/src/report/page.js", "dist/src/report/page.css"];
	const code = ["dist/bin/hf-stream-dcp.js", "dist/src/index.d.ts"];
	for (const path of [...code, "docs/cli.md", kernels, ...page]) {
		expect(paths).toContain(path);
	}
	expect(paths.filter((path) => !/^(?:dist|docs|man)\//.test(path)).toSorted()).toEqual([
		"ARCHITECTURE.md",
		"LICENSE",
		"README.md",
		"package.json",
	]);
	expect(paths.filter((path) => /^dist\/(?!bin\/|src\/)/.test(path))).toEqual([]);
});
