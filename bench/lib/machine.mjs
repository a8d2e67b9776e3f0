// Where a result comes from.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/** The machine that measures: no names, only what decides speed. */
export function machineFacts() {
	return {
		cpu: cpus()[0]?.model.trim(),
		cores: cpus().length,
		memoryBytes: totalmem(),
		platform: process.platform,
		kernel: release(),
	};
}

/** First line that a command prints, on either stream; `undefined` when it cannot be run. */
function firstLine(command, args) {
	try {
		// nginx and java print their version on stderr.
		const text = execFileSync("sh", ["-c", '"$0" "$@" 2>&1', command, ...args], {
			encoding: "utf8",
			stdio: ["ignore", "pipe", "ignore"],
		});
		return text.split("\n")[0].trim();
	} catch {
		return undefined;
	}
}

function packageVersion(name) {
	const { version } = JSON.parse(
		readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), "utf8"),
	);
	return version;
}

/**
 * Versions of what takes part; left out where missing.
 *
 * @param {string} [python] a Python whose packages count
 * @returns {Record<string, string>}
 */
export function toolVersions(python) {
	const packages =
		"import importlib.metadata as m, json; " +
		"print(json.dumps({n: m.version(n) for n in ('torch', 'huggingface_hub', 'safetensors', 'numpy') " +
		"if any(d.name == n for d in m.distributions())}))";
	const found = {
		node: process.version,
		undici: packageVersion("undici"),
		curl: firstLine("curl", ["--version"]),
		nginx: firstLine("/usr/sbin/nginx", ["-v"]),
		openssl: firstLine("openssl", ["version"]),
		cc: firstLine("cc", ["--version"]),
		python: python === undefined ? undefined : firstLine(python, ["--version"]),
		...(python === undefined ? {} : JSON.parse(firstLine(python, ["-c", packages]) ?? "{}")),
	};
	return Object.fromEntries(Object.entries(found).filter(([, version]) => version !== undefined));
}

/** The commit that was measured, and whether the sources differ from it. */
export function commitFacts() {
	const git = (...args) => execFileSync("git", args, { cwd: here, encoding: "utf8" }).trim();
	try {
		const changed = git(
			"status",
			"--porcelain",
			"--",
			"../../src",
			"../../bin",
			"..",
			":!../results",
		);
		return { commit: git("rev-parse", "--short=12", "HEAD"), isModified: changed !== "" };
	} catch {
		return { commit: undefined, isModified: undefined };
	}
}
