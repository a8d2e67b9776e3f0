import { execFile, spawn } from "node:child_process";
import {
	chmodSync,
	cpSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { findTool } from "./tools.ts";
import { standInModels } from "./walk-models.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Absolute folders of the documentation's machine; here every page has its own, below the folder of the walk. */
const ROOT_FOLDERS = ["ckpt", "data", "local", "scratch", "shared"] as const;

/** All that a newcomer's PATH has besides `hf-stream-dcp`: Node, npm and the small tools of any Linux. */
const TOOLS = [
	"bash cat chmod cmp cp cut date dd diff dirname du echo env find grep head ln ls mkdir mktemp mv node npm npx printf",
	"readlink rm sed sh sha256sum sort stat tail tee test touch tr true truncate uname uniq wc xargs",
]
	.join(" ")
	.split(" ");

/** How a program of the walk ended. */
export interface WalkResult {
	readonly code: number | null;
	/** Stdout and stderr, as they came. */
	readonly output: string;
}

/** A machine as a newcomer has it: a clone that is built, a home without files, and a Hub with the models of the documentation. */
export interface WalkMachine extends AsyncDisposable {
	/** The clone: what npm packs, with the packages that it depends on. */
	readonly clone: string;
	/** The folder in which a page's blocks run; the clone for README.md. */
	folderOf(page: string): string;
	/** A text of a page with its absolute paths (`/ckpt/…`) below a folder of that page. */
	localise(page: string, text: string): string;
	/** Runs a program in the folder of a page. */
	run(page: string, command: string, args: readonly string[]): Promise<WalkResult>;
}

interface PackageJson {
	readonly dependencies: { readonly [name: string]: string };
}

/** Packs this package as it is built, and unpacks it beside the packages that users get with it. */
async function unpackClone(machine: string): Promise<string> {
	const exec = promisify(execFile);
	const pack = ["pack", "--ignore-scripts", "--silent", "--pack-destination", machine];
	const { stdout } = await exec("npm", pack, { cwd: ROOT });
	await exec("tar", ["xzf", join(machine, stdout.trim()), "-C", machine]);
	const clone = join(machine, "package");
	const { dependencies } = JSON.parse(
		readFileSync(join(clone, "package.json"), "utf8"),
	) as PackageJson;
	for (const name of Object.keys(dependencies)) {
		const place = join(clone, "node_modules", name);
		mkdirSync(dirname(place), { recursive: true });
		symlinkSync(join(ROOT, "node_modules", name), place);
	}
	// What a clone has and the package does not.
	cpSync(join(ROOT, "deploy"), join(clone, "deploy"), { recursive: true });
	return clone;
}

/** A folder of programs: links to those of this machine, and a `python3` that is the given one. */
function makeTools(folder: string, python: string | undefined): void {
	mkdirSync(folder);
	for (const name of TOOLS) {
		const path = name === "node" ? process.execPath : findTool(name);
		if (path !== undefined) symlinkSync(path, join(folder, name));
	}
	if (python === undefined) return;
	// A link would lose a virtual environment, which Python finds by its own path.
	writeFileSync(join(folder, "python3"), `#!/bin/sh\nexec '${python}' "$@"\n`);
	chmodSync(join(folder, "python3"), 0o755);
}

function runProgram(
	command: string,
	args: readonly string[],
	options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<WalkResult> {
	return new Promise((resolve, reject) => {
		const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
		let output = "";
		const keep = (text: string): void => void (output += text);
		child.stdout.setEncoding("utf8").on("data", keep);
		child.stderr.setEncoding("utf8").on("data", keep);
		child.on("error", reject);
		child.on("close", (code) => resolve({ code, output }));
	});
}

/**
 * Makes a machine in a temporary folder; disposing it removes the folder and closes the Hub.
 *
 * There is no network but loopback: npm works offline, and HTTPS goes to a proxy that is not there.
 *
 * @param python - For `python3`; without one there is none.
 */
export async function createWalkMachine(python: string | undefined): Promise<WalkMachine> {
	const machine = mkdtempSync(join(tmpdir(), "hf-stream-dcp-walk-"));
	const clone = await unpackClone(machine);
	const [home, prefix, tools] = ["home", "prefix", "tools"].map((name) => join(machine, name));
	for (const folder of [home, prefix]) mkdirSync(folder ?? "");
	makeTools(tools ?? "", python);
	mkdirSync(join(machine, "node_modules"));
	symlinkSync(clone, join(machine, "node_modules/hf-stream-dcp"));
	mkdirSync(join(machine, "node_modules/@types"));
	symlinkSync(join(ROOT, "node_modules/@types/node"), join(machine, "node_modules/@types/node"));
	writeFileSync(join(machine, "package.json"), '{ "type": "module" }');
	const hub = await createLocalHub({ repos: standInModels() });
	const env = {
		HOME: home,
		PATH: `${join(prefix ?? "", "bin")}:${tools}`,
		TMPDIR: join(machine, "home"),
		HF_ENDPOINT: hub.endpoint,
		HTTPS_PROXY: "http://127.0.0.1:9",
		npm_config_prefix: prefix,
		npm_config_offline: "true",
		// Its scripts build what was just unpacked built.
		npm_config_ignore_scripts: "true",
		npm_config_update_notifier: "false",
	};
	const folderOf = (page: string): string =>
		page === "README.md" ? clone : join(machine, basename(page, ".md"));
	const folders = new RegExp(`(?<![\\w./~-])/(?=(?:${ROOT_FOLDERS.join("|")})\\b)`, "g");
	return {
		clone,
		folderOf,
		localise: (page, text) => {
			const root = join(machine, "root", basename(page, ".md"));
			mkdirSync(root, { recursive: true });
			return text.replaceAll(folders, `${root}/`);
		},
		run: async (page, command, args) => {
			mkdirSync(folderOf(page), { recursive: true });
			return runProgram(command, args, { cwd: folderOf(page), env });
		},
		[Symbol.asyncDispose]: async () => {
			await hub.close();
			rmSync(machine, { recursive: true, force: true });
		},
	};
}
