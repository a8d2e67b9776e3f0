import { execFile, execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deployFile } from "./engine-bench.ts";

// No image is built here: that needs a registry for node:20-slim. What the Containerfile says is done by hand in an empty folder,
// with this machine's Node: what is copied there exists and is enough, and the commands leave a program that runs. `npm ci` alone
// is not run again; what it installed here is copied.

const ROOT = join(import.meta.dirname, "../..");
const INSTALL = "npm ci";

interface Step {
	readonly word: string;
	readonly rest: string;
}

let folder: string;
let steps: readonly Step[];

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hf-stream-dcp-image-"));
	const text = await readFile(deployFile("Containerfile"), "utf8");
	steps = text
		.split("\n")
		.filter((line) => line !== "" && !line.startsWith("#"))
		.map((line) => ({ word: line.split(" ")[0]!, rest: line.replace(/^\S+ /, "") }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The steps of each stage. */
function stages(): readonly (readonly Step[])[] {
	const begin = steps.flatMap(({ word }, index) => (word === "FROM" ? [index] : []));
	return begin.map((start, stage) => steps.slice(start, begin[stage + 1]));
}

/** Does the build stage in `app`: copies from the repository, then the commands. */
async function build(app: string): Promise<void> {
	await mkdir(app);
	for (const { word, rest } of stages()[0]!) {
		if (word === "COPY") {
			const names = rest.split(" ");
			const target = join(app, names.pop()!);
			for (const name of names) {
				const to = names.length > 1 ? join(target, basename(name)) : target;
				await cp(join(ROOT, name), to, { recursive: true });
			}
		}
		if (word === "RUN") {
			expect(rest.startsWith(`${INSTALL} && `)).toBe(true);
			// A kernel that was built before must not help.
			await rm(join(app, "src/stream/wasm/kernels.wasm"), { force: true });
			await cp(join(ROOT, "node_modules"), join(app, "node_modules"), { recursive: true });
			const command = rest.replace(INSTALL, "npm run --silent build");
			await promisify(execFile)("sh", ["-c", command], { cwd: app });
		}
	}
}

test("what the Containerfile copies and runs makes a program that needs nothing else", async () => {
	const [app, image] = [join(folder, "app"), join(folder, "image")];
	await build(app);
	for (const { word, rest } of stages()[1]!) {
		if (word !== "COPY") continue;
		const [, from, to] = /^--from=build \/app\/(\S+) \/app\/(\S+)$/.exec(rest)!;
		await cp(join(app, from!), join(image, to!), { recursive: true, verbatimSymlinks: true });
	}

	const entry = stages()[1]!.find(({ word }) => word === "ENTRYPOINT")!;
	const [node, program] = JSON.parse(entry.rest) as [string, string];
	expect(node).toBe("node");
	const file = program.replace("/app/", `${image}/`);
	const run = (...args: string[]): string =>
		execFileSync(process.execPath, [file, ...args], { cwd: "/", env: {}, encoding: "utf8" });
	const { version, devDependencies } = JSON.parse(
		await readFile(join(ROOT, "package.json"), "utf8"),
	) as { version: string; devDependencies: { readonly [name: string]: string } };
	expect(run("--version").trim()).toBe(version);
	expect(run("demo", "--out", join(folder, "demo"))).toContain("tok_embeddings.weight");

	const modules = await readdir(join(image, "node_modules"));
	expect(modules).toContain("undici");
	expect(modules.filter((name) => name in devDependencies)).toEqual([]);
}, 120_000);

test("the image runs without rights, and gets signals itself", () => {
	const last = stages()[1]!.map(({ word }) => word);
	expect(last.at(-2)).toBe("USER");
	expect(last.at(-1)).toBe("ENTRYPOINT");
	expect(steps.find(({ word }) => word === "USER")!.rest).not.toMatch(/^(?:0|root)\b/);
	// The form without a shell.
	expect(steps.at(-1)!.rest).toMatch(/^\[/);
});
