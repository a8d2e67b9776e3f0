import {
	cpSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Diagnosis } from "../../src/index.ts";
import { icdOf } from "../support/host-tree.ts";
import { runCli } from "../support/run-cli.ts";
import { findSoftwareGpu } from "../support/software-gpu.ts";

const ROOT = join(import.meta.dirname, "../..");
const gpu = findSoftwareGpu();
const why = "skip" in gpu ? ` (${gpu.skip})` : "";

let folder: string;
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "doctor-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** An environment in which nothing is found by chance. */
function bare(variables: { readonly [name: string]: string } = {}): { [name: string]: string } {
	return { HOME: folder, XDG_DATA_DIRS: folder, XDG_CONFIG_DIRS: folder, ...variables };
}

async function diagnosisOf(
	args: readonly string[],
	env: { readonly [name: string]: string },
): Promise<{
	readonly code: number | null;
	readonly diagnosis: Diagnosis;
	readonly stderr: string;
}> {
	const { code, stdout, stderr } = await runCli(["doctor", "--json", ...args], env);
	return { code, diagnosis: JSON.parse(stdout) as Diagnosis, stderr };
}

test("a token is found and not told", async () => {
	const token = "hf_verySecretVerySecret";
	const { code, stdout, stderr } = await runCli(["doctor", folder], bare({ HF_TOKEN: token }));
	expect(code).toBe(0);
	expect(stdout).toContain("Hub https://huggingface.co: there is a token");
	expect(stdout).toContain(`${folder}: written`);
	expect(stdout + stderr).not.toContain(token);
	const json = await runCli(["doctor", "--json"], bare({ HF_TOKEN: token }));
	expect(json.stdout + json.stderr).not.toContain(token);
});

test("what no conversion could start with is an error, after all that was found", async () => {
	const { code, diagnosis, stderr } = await diagnosisOf(
		["--device", "cpu"],
		bare({ HF_ENDPOINT: "x" }),
	);
	expect(code).toBe(2);
	expect(diagnosis).toMatchObject({ ready: false, machine: { node: process.versions.node } });
	expect(stderr).toContain("HF_ENDPOINT must be a URL");
});

const isLinux = process.platform === "linux";

test.skipIf(!isLinux)(
	"without a driver conversions run, and --device webgpu exits with 7; the ICD file that is not there is named",
	async () => {
		const file = join(folder, "gone.json");
		const env = bare({ VK_DRIVER_FILES: file });
		const { code, stdout } = await runCli(["doctor"], env);
		expect(code).toBe(0);
		expect(stdout).toContain(`problem  driver ${file} (VK_DRIVER_FILES): there is no such file`);
		expect(stdout).toContain("Correct or unset VK_DRIVER_FILES.");
		expect(stdout).toContain("Conversions can run.");
		const asked = await diagnosisOf(["--device", "webgpu"], env);
		expect(asked.code).toBe(7);
		expect(asked.diagnosis).toMatchObject({ ready: true, gpu: { usable: false } });
		expect(asked.stderr).toContain("error: no GPU can be used: ");
	},
);

test.skipIf(!isLinux)(
	"a driver's library that cannot be loaded is named, with what the dynamic linker says",
	async () => {
		const library = join(folder, "libbroken.so");
		const file = join(folder, "broken.json");
		writeFileSync(library, "no library");
		writeFileSync(file, icdOf(library));
		const { stdout } = await runCli(["doctor"], bare({ VK_ICD_FILENAMES: file }));
		expect(stdout).toContain(`driver ${file} (VK_ICD_FILENAMES): ${library} cannot be loaded: `);
	},
);

test("without the optional package it is said how to add it", async () => {
	const program = join(folder, "program");
	cpSync(join(ROOT, "dist"), join(program, "dist"), { recursive: true });
	cpSync(join(ROOT, "package.json"), join(program, "package.json"));
	const modules = join(program, "node_modules");
	mkdirSync(modules);
	for (const name of readdirSync(join(ROOT, "node_modules"))) {
		if (name !== "webgpu") symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
	}
	const bin = join(program, "dist/bin/hf-stream-dcp.js");
	const run = (...args: string[]): Promise<{ code: unknown; text: string }> =>
		new Promise((resolve) => {
			execFile(process.execPath, [bin, "doctor", ...args], { env: bare() }, (error, out, err) => {
				resolve({ code: error === null ? 0 : error.code, text: out + err });
			});
		});
	const { code, text } = await run();
	expect(code).toBe(0);
	expect(text).toContain("the optional package webgpu is not installed");
	expect(text).toContain("npm install webgpu@^0.6.2");
	expect(text).toContain("Conversions can run.");
	expect((await run("--device", "webgpu")).code).toBe(7);

	// And with one that this system is too old for.
	const broken = join(modules, "webgpu");
	const binaries =
		process.platform === "darwin" ? "darwin-universal" : `${process.platform}-${process.arch}`;
	mkdirSync(join(broken, "dist", binaries), { recursive: true });
	writeFileSync(join(broken, "dist", binaries, "dawn.node"), "");
	const manifest = { name: "webgpu", version: "0.6.1", type: "module", main: "index.js" };
	writeFileSync(join(broken, "package.json"), JSON.stringify(manifest, undefined, 2));
	writeFileSync(
		join(broken, "index.js"),
		'throw new Error("/lib/libc.so.6: version `GLIBC_2.38\' not found (required by dawn.node)");',
	);
	const old = await run("--device", "webgpu");
	expect(old.code).toBe(7);
	expect(old.text).toContain("problem  package webgpu 0.6.1: ");
	expect(old.text).toContain("This system is too old for the binary, which needs GLIBC_2.38");
});

describe.skipIf("skip" in gpu)(`with a GPU in software${why}`, () => {
	const drivers = "icd" in gpu ? { VK_DRIVER_FILES: gpu.icd } : {};

	test("everything is found, every kernel is tested, and it is said that auto will not use it", async () => {
		const { code, diagnosis } = await diagnosisOf(["--device", "webgpu"], bare(drivers));
		expect(code).toBe(0);
		const { usable, loader, vulkan, examination } = diagnosis.gpu!;
		expect(usable).toBe(true);
		expect(loader).toMatch(/libvulkan\.so\.1$/);
		expect(vulkan?.drivers).toHaveLength(1);
		expect(examination?.adapters).toHaveLength(1);
		expect(examination?.adapter?.isSoftware).toBe(true);
		expect(examination?.limits?.["maxBufferSize"]).toBeGreaterThan(1024 ** 2);
		const kernels = examination?.kernels.map(({ kernel, ok }) => `${kernel} ${ok}`);
		expect(kernels).toContain("dequant16 true");
		expect(examination?.kernels.every(({ ok }) => ok)).toBe(true);
		const { stdout } = await runCli(["doctor"], bare(drivers));
		expect(stdout).toContain("in software");
		expect(stdout).toContain("--device auto leaves the work to the CPU.");
	});

	test("a driver that crashes is a finding", async () => {
		// Ends the process as a driver does, when it is asked for its devices.
		const preload = join(folder, "crash.mjs");
		writeFileSync(
			preload,
			`if (process.send) {
				const { globals } = await import(${JSON.stringify(join(ROOT, "node_modules/webgpu/index.js"))});
				globals.GPUAdapter.prototype.requestDevice = () => process.kill(process.pid, "SIGSEGV");
			}`,
		);
		const env = bare({ ...drivers, NODE_OPTIONS: `--import ${preload}` });
		const { code, diagnosis, stderr } = await diagnosisOf(["--device", "webgpu"], env);
		expect(code).toBe(7);
		expect(diagnosis.ready).toBe(true);
		expect(diagnosis.gpu?.examination?.failure).toMatchObject({ crashed: true });
		expect(stderr).toContain("SIGSEGV");
	});
});
