// Programs that a benchmark may or may not find.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "hf-stream-dcp");

/** @typedef {{ path: string, skip?: undefined } | { path?: undefined, skip: string }} Found a program, or why there is none */

/**
 * Looks for a program in PATH and in the system's directories.
 *
 * @param {string} name
 * @returns {Found}
 */
export function findTool(name) {
	const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];
	const path = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
	return path === undefined ? { skip: `${name} is not installed` } : { path };
}

/**
 * A Python with the given modules: the one `HF_STREAM_DCP_PYTHON` names, else that of the oracle tests, else `python3`.
 *
 * @param {readonly string[]} modules
 * @returns {Found}
 */
export function findPython(modules) {
	const oracle = join(cache, "oracle-venv/bin/python");
	const path = process.env["HF_STREAM_DCP_PYTHON"] ?? (existsSync(oracle) ? oracle : "python3");
	const script =
		"import importlib.util, sys; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])";
	const { status, stdout } = spawnSync(path, ["-c", script, ...modules], { encoding: "utf8" });
	if (status !== 0) return { skip: `${path} does not run` };
	const missing = stdout.trim();
	return missing === "" ? { path } : { skip: `${path} has no module ${missing}` };
}

/**
 * Compiles a C program once per content.
 *
 * @param {string} source path of the one file
 * @param {readonly string[]} flags after the source: libraries too
 * @returns {Found}
 */
export function compileC(source, flags) {
	const compiler = findTool("cc");
	if (compiler.skip !== undefined) return { skip: "there is no C compiler (cc)" };
	const hash = createHash("sha256").update(flags.join(" ")).update(readFileSync(source));
	const folder = join(cache, "bench-programs");
	const path = join(folder, hash.digest("hex").slice(0, 16));
	if (existsSync(path)) return { path };
	mkdirSync(folder, { recursive: true });
	const temporary = `${path}.${process.pid}`;
	try {
		execFileSync(compiler.path, ["-O2", "-Wall", "-o", temporary, source, ...flags], {
			encoding: "utf8",
			stdio: "pipe",
		});
	} catch (error) {
		const first = String(error.stderr)
			.split("\n")
			.find((line) => line.includes("error"));
		return { skip: `cc does not compile ${source}: ${first ?? error.message}` };
	}
	renameSync(temporary, path);
	return { path };
}
