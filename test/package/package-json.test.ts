import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

interface PackageJson {
	readonly bin: { readonly [name: string]: string };
	readonly exports: { readonly ".": { readonly types: string; readonly default: string } };
	readonly engines: { readonly node: string };
	readonly dependencies: { readonly [name: string]: string };
	readonly devDependencies: { readonly [name: string]: string };
	readonly peerDependencies: { readonly [name: string]: string };
	readonly peerDependenciesMeta: { readonly [name: string]: { readonly optional: boolean } };
	readonly scripts: { readonly [name: string]: string };
	readonly files: readonly string[];
}

const PACKAGE = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as PackageJson;

test("users install few packages, and none of them binary", () => {
	expect(Object.keys(PACKAGE.dependencies)).toEqual([
		"@huggingface/hub",
		"commander",
		"jsonc-parser",
		"p-limit",
		"undici",
		"valibot",
	]);
	expect(PACKAGE.peerDependencies).toHaveProperty("webgpu");
	expect(PACKAGE.peerDependenciesMeta["webgpu"]?.optional).toBe(true);
});

test("majors that need a newer Node are held back", () => {
	expect(PACKAGE.engines.node).toBe(">=20.18.1");
	expect(PACKAGE.dependencies["undici"]).toMatch(/^\^7\./);
	expect(PACKAGE.dependencies["commander"]).toMatch(/^\^14\./);
	expect(PACKAGE.devDependencies["vitest"]).toMatch(/^4\./);
});

test("every installed dependency accepts the oldest Node we name", () => {
	const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
		readonly packages: {
			readonly [path: string]: {
				readonly dev?: boolean;
				readonly engines?: { readonly node?: string };
			};
		};
	};
	const tooNew = Object.entries(lock.packages).filter(([path, { dev, engines }]) => {
		const least = /^>=\s*(\d+)(?:\.(\d+))?/.exec(engines?.node ?? "");
		if (path === "" || dev === true || least === null) return false;
		return Number(least[1]) > 20 || (Number(least[1]) === 20 && Number(least[2] ?? 0) > 18);
	});
	expect(tooNew).toEqual([]);
});

test("what package.json promises is built", () => {
	const bin = join(ROOT, PACKAGE.bin["hf-stream-dcp"] ?? "");
	expect(readFileSync(bin, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
	expect(existsSync(join(ROOT, PACKAGE.exports["."].types))).toBe(true);
	expect(existsSync(join(ROOT, PACKAGE.exports["."].default))).toBe(true);
	for (const path of PACKAGE.files) {
		if (!path.startsWith("!")) expect(statSync(join(ROOT, path)).size).toBeGreaterThan(0);
	}
});

test("the README's commands are scripts", () => {
	const readme = readFileSync(join(ROOT, "README.md"), "utf8");
	const used = [...readme.matchAll(/npm run ([\w:]+)/g)].map(([, script]) => script ?? "");
	expect(used).toContain("demo");
	for (const script of used) expect(PACKAGE.scripts).toHaveProperty([script]);
	expect(readme).toContain("npm ci && npm run demo");
	expect(readme).toContain("npm ci && npm test");
	expect(PACKAGE.scripts).toHaveProperty("test");
	expect(PACKAGE.scripts["prepare"]).toContain("build");
});
