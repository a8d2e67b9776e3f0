import { execFile } from "node:child_process";
import {
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";

const ROOT = join(import.meta.dirname, "../..");
const MODEL = createDemoModel();

const run = promisify(execFile);

let project: string;

/** A project that has installed this package, and in it the README's example. */
beforeAll(() => {
	project = mkdtempSync(join(tmpdir(), "hf-stream-dcp-readme-"));
	mkdirSync(join(project, "node_modules"));
	symlinkSync(ROOT, join(project, "node_modules/hf-stream-dcp"));
	writeFileSync(join(project, "package.json"), '{ "type": "module" }');
	const [, example = ""] =
		/```ts\n(.*?)```/s.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
	const code = example
		.replace("Qwen/Qwen3-8B", MODEL.id)
		.replace("/ckpt/step-0", join(project, "checkpoint"));
	expect(code).not.toBe(example);
	writeFileSync(join(project, "example.ts"), code);
	writeFileSync(join(project, "example.js"), code);
});

afterAll(() => {
	rmSync(project, { recursive: true });
});

test("the README's program has the right types", async () => {
	const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"];
	const types = ["--types", "node", "--typeRoots", join(ROOT, "node_modules/@types")];
	const tsc = join(ROOT, "node_modules/.bin/tsc");
	await run(tsc, [...flags, ...types, "example.ts"], { cwd: project });
});

test("the README's program converts a model", async () => {
	await using hub = await createLocalHub({ repos: [MODEL] });
	const env = { PATH: process.env["PATH"], HF_ENDPOINT: hub.endpoint, HF_HOME: project };
	await run(process.execPath, ["example.js"], { cwd: project, env });
	expect(readdirSync(join(project, "checkpoint"))).toContain(".metadata");
	expect(readdirSync(join(project, "checkpoint"))).toHaveLength(18);
});
