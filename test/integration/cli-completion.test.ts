import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { createFakeIo } from "../support/cli-io.ts";
import { findTools } from "../support/tools.ts";

/** What is typed, `→` for the Tab key, and the words that the program then gets. Each is unique as far as it is typed. */
const TYPED: readonly (readonly [line: string, words: readonly string[]])[] = [
	["pl→--tar→torchtitan@2026-08-11→", ["plan", "--target", "torchtitan@2026-08-11"]],
	["plan x --target=torchtitan@2025→", ["plan", "x", "--target=torchtitan@2025-10"]],
	["org/name --dp-sh→8 --out=ck→st→", ["org/name", "--dp-shard", "8", "--out=ckpt/step-0"]],
	["family sh→llama3→", ["family", "show", "llama3"]],
	["org/name --fam→./m→", ["org/name", "--family", "./my.json"]],
	["plan x --parallelism.ten→4", ["plan", "x", "--parallelism.tensor_parallel_degree", "4"]],
	["insp→ck→", ["inspect", "ckpt"]],
	["demo --log-f→j→", ["demo", "--log-format", "json"]],
	["--device plan org/name --dt→fl→32→", ["--device", "plan", "org/name", "--dtype", "float32"]],
	["compl→zs→", ["completion", "zsh"]],
];

const SHOW = `hf-stream-dcp() { printf 'GOT'; printf '<%s>' "$@"; printf '\\n'; }`;

let folder: string;

async function script(shell: string): Promise<string> {
	const io = createFakeIo();
	expect(await main(["completion", shell], io)).toBe(0);
	return io.out();
}

beforeAll(async () => {
	folder = mkdtempSync(join(tmpdir(), "hf-stream-dcp-completion-"));
	mkdirSync(join(folder, "ckpt/step-0"), { recursive: true });
	writeFileSync(join(folder, "my.json"), "{}");
	for (const shell of ["bash", "zsh", "fish"]) {
		writeFileSync(join(folder, `script.${shell}`), await script(shell));
	}
	const bash = `source ./script.bash\n${SHOW}\nbind 'set bell-style none'\n`;
	writeFileSync(join(folder, "bashrc"), bash);
	const zsh = `autoload -Uz compinit; compinit -u -D\nsource ./script.zsh\n${SHOW}\nunsetopt beep\n`;
	writeFileSync(join(folder, ".zshrc"), zsh);
});

afterAll(() => rmSync(folder, { recursive: true }));

/** Types `lines` into a shell on a terminal of its own, and gives what the program got. */
function typeInto(shell: string, lines: readonly string[]): Promise<readonly string[][]> {
	return new Promise((resolve, reject) => {
		const env = { ...process.env, ZDOTDIR: folder, HOME: folder, TERM: "dumb", PS1: "> " };
		const child = spawn("script", ["--quiet", "--command", shell, "/dev/null"], {
			cwd: folder,
			env,
		});
		let output = "";
		child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
		child.on("error", reject);
		child.on("close", () => {
			const got = [...output.matchAll(/GOT((?:<[^>\n]*>)+)/g)];
			resolve(got.map(([, words = ""]) => words.slice(1, -1).split("><")));
		});
		child.stdin.end(`${lines.join("\n")}\nexit\n`);
	});
}

/** Directories are completed with a slash at the end, which zsh takes away when the line is done. */
const withoutSlash = (words: readonly string[]): string[] =>
	words.map((word) => word.replace(/(?<=.)\/$/, ""));

describe.each([
	["bash", "bash --noprofile --rcfile ./bashrc -i"],
	["zsh", "zsh -i"],
])("%s", (shell, command) => {
	const tools = findTools([shell, "script"], `apt install ${shell} bsdutils`);

	test.skipIf("skip" in tools)("completes what a person types", async () => {
		const lines = TYPED.map(([line]) => `hf-stream-dcp ${line.replaceAll("→", "\t")}`);
		const got = await typeInto(command, lines);
		expect(got.map(withoutSlash)).toEqual(TYPED.map(([, words]) => words));
	});

	test.skipIf("skip" in tools)("reads the script without a word", () => {
		const { status, stderr } = spawnSync(shell, ["-n", `script.${shell}`], { cwd: folder });
		expect([status, String(stderr)]).toEqual([0, ""]);
	});
});

/** What fish offers for a line. */
function askFish(line: string): readonly string[] {
	const ask = `source ./script.fish; complete -C ${JSON.stringify(`hf-stream-dcp ${line}`)}`;
	const { stdout } = spawnSync("fish", ["--no-config", "--command", ask], {
		cwd: folder,
		encoding: "utf8",
	});
	const words = stdout.split("\n").map((text) => text.split("\t")[0] ?? "");
	return words.filter((word) => word !== "");
}

describe("fish", () => {
	const tools = findTools(["fish"], "apt install fish");

	test.skipIf("skip" in tools).each([
		["pl", ["plan"]],
		["plan --tar", ["--target"]],
		["plan --target torchtitan@2026-08-1", ["torchtitan@2026-08-11", "torchtitan@2026-08-18"]],
		["org/name --out ck", ["ckpt/"]],
		["org/name --out=ck", ["--out=ckpt/"]],
		["family sh", ["show"]],
		["family show llama", ["llama3", "llama4"]],
		["org/name --family ./m", ["./my.json"]],
		["plan x --parallelism.ten", ["--parallelism.tensor_parallel_degree"]],
		["inspect ck", ["ckpt/"]],
		["demo --log-format j", ["json"]],
		["--device plan org/name --dtype fl", ["float16", "float32"]],
		["demo --dp", []],
	] as const)("%s", (line, words) => {
		expect([...askFish(line)].toSorted()).toEqual([...words]);
	});
});
