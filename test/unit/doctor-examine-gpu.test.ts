import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { examineGpu, type GpuExamination } from "../../src/doctor/examine-gpu.ts";
import { readGpuPackage } from "../../src/doctor/gpu-package.ts";
import { tryLibrary } from "../../src/doctor/load-library.ts";
import { hostOf } from "../support/host-tree.ts";

let folder: string;
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "doctor-gpu-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const ADAPTER = {
	vendor: "acme",
	architecture: "one",
	device: "a1",
	description: "Acme One",
	isSoftware: false,
};

/** What a program that does `lines` leads to. It has `tell` and `ADAPTER`. */
async function examine(
	name: string,
	lines: string,
	options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<GpuExamination> {
	const path = join(folder, `${name}.mjs`);
	writeFileSync(
		path,
		`const ADAPTER = ${JSON.stringify(ADAPTER)};
		const tell = (message) => new Promise((resolve) => process.send(message, resolve));
		await tell({ kind: "step", step: "adapter" });
		${lines}`,
	);
	return examineGpu({ env: process.env, program: pathToFileURL(path), ...options });
}

const OPENED = `
	await tell({ kind: "adapters", names: ["Acme One"] });
	await tell({ kind: "adapter", adapter: ADAPTER, limits: { maxBufferSize: 4096 } });
	await tell({ kind: "step", step: "self-test" });
`;

test("a GPU whose kernels are right", async () => {
	const seen = await examine(
		"right",
		`${OPENED}
		await tell({ kind: "kernels", kernels: [{ kernel: "move8", ok: true }] });
		await tell({ kind: "done" });
		setInterval(() => {}, 1000);`,
	);
	expect(seen).toEqual({
		adapters: ["Acme One"],
		adapter: ADAPTER,
		limits: { maxBufferSize: 4096 },
		kernels: [{ kernel: "move8", ok: true }],
		failure: undefined,
	});
});

test("a kernel that is wrong", async () => {
	const { failure } = await examine(
		"wrong",
		`${OPENED}
		const wrong = { kernel: "cast16", ok: false, detail: "word 7 is 1 instead of 0" };
		await tell({ kind: "kernels", kernels: [{ kernel: "move8", ok: true }, wrong] });
		await tell({ kind: "done" });`,
	);
	expect(failure?.step).toBe("self-test");
	expect(failure?.message).toContain("cast16 (word 7 is 1 instead of 0)");
	expect(failure?.message).not.toContain("move8");
});

test("a driver that crashes, and what it said", async () => {
	const { adapter, failure } = await examine(
		"crash",
		`${OPENED}
		process.stderr.write("warning\\nterminate called\\n", () => process.kill(process.pid, "SIGSEGV"));
		setInterval(() => {}, 1000);`,
	);
	expect(adapter).toEqual(ADAPTER);
	expect(failure).toMatchObject({ step: "self-test", crashed: true });
	expect(failure?.message).toBe(
		"its process was ended by SIGSEGV; it said: terminate called, while the kernels were tested",
	);
});

test("a driver that ends the process", async () => {
	const { failure } = await examine("exit", "process.exit(3);");
	expect(failure?.message).toBe(
		"its process ended with exit code 3, while drivers were asked for a GPU",
	);
});

test("a driver that hangs", async () => {
	const { failure } = await examine("hang", "for (;;) {}", { timeoutMs: 1000 });
	expect(failure).toMatchObject({ step: "adapter", crashed: true });
	expect(failure?.message).toContain("did not answer for 1 s");
});

test("a look that is stopped", async () => {
	const controller = new AbortController();
	const seen = examine("stopped", "setInterval(() => {}, 1000);", { signal: controller.signal });
	controller.abort(new Error("enough"));
	await expect(seen).rejects.toThrow("enough");
});

test("a failure that was told", async () => {
	const failure = { step: "package", message: "not installed", hint: "install it" };
	const seen = await examine(
		"told",
		`await tell({ kind: "failed", failure: ${JSON.stringify(failure)} });
		await tell({ kind: "done" });`,
	);
	expect(seen.failure).toEqual(failure);
});

test("what is wrong with a library is said by its name", async () => {
	const path = join(folder, "libbroken.so");
	writeFileSync(path, "no library");
	expect(await tryLibrary(path, process.env)).toContain("libbroken.so");
	expect(await tryLibrary(join(folder, "libgone.so.1"), process.env)).toContain("libgone.so.1");
});

test("the package's binary and the system's C library", () => {
	const root = join(folder, "package");
	const manifest = "/m/webgpu/package.json";
	const files = { [manifest]: '{ "name": "webgpu", "version": "0.6.2" }' };
	const bare = readGpuPackage(hostOf(root, files), manifest, "2.36");
	expect(bare.problem?.message).toBe("it has no binary for linux x64");
	const host = hostOf(root, { ...files, "/m/webgpu/dist/linux-x64/dawn.node": "" });
	expect(readGpuPackage(host, manifest, "2.34")).toEqual({
		version: "0.6.2",
		binary: "/m/webgpu/dist/linux-x64/dawn.node",
		problem: undefined,
	});
	expect(readGpuPackage(host, manifest, "3.0").problem).toBeUndefined();
	expect(readGpuPackage(host, manifest, "2.31").problem?.message).toBe(
		"its binary needs glibc 2.34, and this system has 2.31",
	);
	expect(readGpuPackage(host, manifest, undefined).problem?.message).toContain("another C library");
});
