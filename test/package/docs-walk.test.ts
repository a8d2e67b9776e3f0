import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parse, type ParseError, printParseErrorCode } from "jsonc-parser";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { documentedPages, fencedBlocks, type MarkdownBlock } from "../support/markdown.ts";
import { findPython } from "../support/python.ts";
import { createWalkMachine, type WalkMachine } from "../support/walk-machine.ts";

/**
 * A newcomer's walk: every block of README.md and docs/*.md is done as it stands, page by page and from top to bottom, on a machine
 * that has Node, npm, the small tools of any Linux, and an installed package. Two things differ from a reader's machine: the Hub is
 * one on loopback with small stand-ins of the models, and `/ckpt`, `/data`, `/local`, `/scratch` and `/shared` lie in
 * a temporary folder of the page.
 *
 * What a block is, its fence says:
 *
 * | fence | what is done |
 * | --- | --- |
 * | `sh` | run by `sh -eu`; it must exit with 0, or as `sh exit=6` says |
 * | `sh` that begins with `npm ci` | not run: as `sh clone` |
 * | `sh MARK` | not run: it needs what {@link NOT_HERE} says. {@link NOT_RUN} lists every such block |
 * | `python` | run by a Python with torch and transformers |
 * | `ts`, `js` | compiled against the package's types (`ts`), and run |
 * | `json`, `jsonc` | parsed; with a file name after it, written to that file |
 * | `text` | not for a machine |
 */
const LANGUAGES = ["sh", "python", "ts", "js", "json", "jsonc", "text"];

/** What a block may need that is not here, by the mark on its fence. */
const NOT_HERE: { readonly [mark: string]: string } = {
	clone: "installs, builds or tests the clone itself: .ci/run does",
	cluster: "a scheduler or several machines: test/engines/ has them",
	torchtitan: "GPUs and a checkout of torchtitan: test/oracle/torchtitan-*.test.ts has its models",
};

/** Every block that is not run: page, mark, first line. A new one must be written down here. */
const NOT_RUN = [
	["README.md", "clone", "npm ci && npm run demo"],
	["README.md", "clone", "npm ci && npm test"],
	["README.md", "torchtitan", "NGPU=8 MODULE=llama4 CONFIG=YOUR_CONFIG ./run_train.sh \\"],
	[
		"docs/cluster.md",
		"cluster",
		"sbatch --nodes=8 deploy/slurm.sbatch ORG/MODEL --out /scratch/checkpoint --dp-shard 64 --tp 8",
	],
	[
		"docs/cluster.md",
		"cluster",
		"srun hf-stream-dcp ORG/MODEL --out /local/checkpoint --dp-shard 64 --tp 8 --local-output",
	],
];

/** What a page takes for granted, and how it comes about here. */
const GRANTED: { readonly [page: string]: { readonly what: string; readonly by: string } } = {
	"docs/dcp-format.md": {
		what: "a checkpoint",
		by: "hf-stream-dcp Qwen/Qwen3-8B --out /ckpt/step-0 --dp-shard 8 --tp 2",
	},
	"docs/export.md": {
		what: "a checkpoint that the training job saved later",
		by: "hf-stream-dcp Qwen/Qwen3-8B --out /ckpt/step-1000 --dp-shard 4",
	},
	"docs/layouts.md": {
		what: "a checkpoint that the training job saved",
		by: "hf-stream-dcp Qwen/Qwen3-8B --out /ckpt/step-1 --dp-shard 4 --tp 2",
	},
};

const BLOCKS = documentedPages().flatMap((page) => fencedBlocks(page));
const PYTHON = findPython(["torch", "transformers"]);
/** For one block and those before it, on a machine that has much else to do. */
const PATIENCE_MS = 180_000;

let machine: WalkMachine;

/** README's two commands carry no mark, so that whoever looks for them by their fence finds them. */
const markOf = ({ marks, text }: MarkdownBlock): string | undefined =>
	text.startsWith("npm ci ") ? "clone" : marks.find((mark) => mark in NOT_HERE);

const firstLine = ({ text }: MarkdownBlock): string => text.split("\n", 1)[0] ?? "";

/** Path without an ending of what a block is written to. */
function programOf({ page, line }: MarkdownBlock): string {
	return join(machine.folderOf(page), `block-${line}`);
}

function write(path: string, text: string): void {
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, text);
}

async function expectExit(
	{ page, line }: MarkdownBlock,
	command: string,
	args: readonly string[],
	expected = 0,
): Promise<void> {
	const { code, output } = await machine.run(page, command, args);
	expect(code, `${page}:${line} ended with ${code}:\n${output}`).toBe(expected);
}

const DO: { readonly [language: string]: (block: MarkdownBlock) => Promise<void> | void } = {
	sh: async (block) => {
		const code = block.marks.map((mark) => /^exit=(\d+)$/.exec(mark)?.[1]).find(Boolean) ?? 0;
		await expectExit(block, "sh", ["-euc", machine.localise(block.page, block.text)], Number(code));
	},
	python: async (block) => {
		write(`${programOf(block)}.py`, machine.localise(block.page, block.text));
		await expectExit(block, "python3", [`${programOf(block)}.py`]);
	},
	ts: (block) => expectExit(block, "node", [`${programOf(block)}.js`]),
	js: async (block) => {
		write(`${programOf(block)}.js`, machine.localise(block.page, block.text));
		await expectExit(block, "node", [`${programOf(block)}.js`]);
	},
	json: expectJson,
	jsonc: expectJson,
};

function expectJson({ language, marks, text, page }: MarkdownBlock): void {
	const errors: ParseError[] = [];
	if (language === "json") JSON.parse(text);
	else parse(text, errors, { allowTrailingComma: true });
	expect(errors.map(({ error, offset }) => `${printParseErrorCode(error)} at ${offset}`)).toEqual(
		[],
	);
	const [file] = marks;
	if (file !== undefined) write(join(machine.folderOf(page), file), machine.localise(page, text));
}

/** Compiles the programs of all pages at once, as a project that has installed the package does. */
async function compilePrograms(): Promise<string> {
	const programs = BLOCKS.filter(({ language }) => language === "ts");
	for (const block of programs)
		write(`${programOf(block)}.ts`, machine.localise(block.page, block.text));
	const flags = "--strict --noUncheckedIndexedAccess --module nodenext --target es2022";
	const libraries = "--lib es2023,esnext.disposable --types node --skipLibCheck false";
	const { output } = await machine.run("README.md", "node", [
		join(import.meta.dirname, "../../node_modules/typescript/bin/tsc"),
		...`${flags} ${libraries}`.split(" "),
		...programs.map((block) => `${programOf(block)}.ts`),
	]);
	return output;
}

beforeAll(async () => {
	machine = await createWalkMachine("python" in PYTHON ? PYTHON.python : undefined);
	const installed = await machine.run("README.md", "npm", ["install", "--global", "."]);
	expect(installed.code, installed.output).toBe(0);
	// docs/layouts.md says to copy it.
	const layouts = machine.folderOf("docs/layouts.md");
	mkdirSync(layouts);
	copyFileSync(join(machine.clone, "docs/dump_layout.py"), join(layouts, "dump_layout.py"));
});

afterAll(() => machine[Symbol.asyncDispose]());

test("every block says what it is", () => {
	const unknown = BLOCKS.filter(({ language }) => !LANGUAGES.includes(language));
	expect(unknown.map(({ page, line, language }) => `${page}:${line} ${language}`)).toEqual([]);
	const odd = BLOCKS.filter(({ language, marks }) => {
		if (language === "sh") {
			return marks.some((mark) => !(mark in NOT_HERE) && !/^exit=\d+$/.test(mark));
		}
		return marks.length > (language.startsWith("json") ? 1 : 0);
	});
	expect(odd.map(({ page, line, marks }) => `${page}:${line} ${marks.join(" ")}`)).toEqual([]);
});

test(`${NOT_RUN.length} blocks cannot run here`, () => {
	const marked = BLOCKS.filter((block) => markOf(block) !== undefined);
	expect(marked.map((block) => [block.page, markOf(block), firstLine(block)])).toEqual(NOT_RUN);
	expect(new Set(NOT_RUN.map(([, mark]) => mark))).toEqual(new Set(Object.keys(NOT_HERE)));
});

test("the programs have the right types", async () => {
	expect(await compilePrograms()).toBe("");
});

/** What is done of a page. */
const doneOf = (page: string): readonly MarkdownBlock[] =>
	BLOCKS.filter(
		(block) => block.page === page && block.language in DO && markOf(block) === undefined,
	);

const WALKED = documentedPages().filter((page) => doneOf(page).length > 0);

/** Without a Python that has what one of its blocks needs, the rest of a page is left out, too: it may build on that. */
function runnableOf(page: string): readonly MarkdownBlock[] {
	const blocks = doneOf(page);
	const first = "skip" in PYTHON ? blocks.findIndex(({ language }) => language === "python") : -1;
	return first < 0 ? blocks : blocks.slice(0, first);
}

/** How the blocks of a page went, each as soon as it is done. */
type Walk = ReadonlyMap<MarkdownBlock | "granted", Promise<unknown>>;

const walks = new Map<string, Walk>();

/** Does the blocks of a page one after the other, whatever becomes of each; once, however often it is called. */
function walk(page: string | undefined): Walk {
	const known = page === undefined ? new Map() : walks.get(page);
	if (page === undefined || known !== undefined) return known ?? new Map();
	const done = new Map<MarkdownBlock | "granted", Promise<unknown>>();
	let before: Promise<unknown> = Promise.resolve();
	const add = (key: MarkdownBlock | "granted", run: () => Promise<void> | void): void => {
		const now = before.then(run);
		done.set(key, now);
		before = now.catch(() => {});
	};
	add("granted", () => grant(page));
	for (const block of runnableOf(page)) add(block, () => DO[block.language]?.(block));
	walks.set(page, done);
	// Their tests wait for them, perhaps after they failed.
	for (const each of done.values()) each.catch(() => {});
	return done;
}

async function grant(page: string): Promise<void> {
	const granted = GRANTED[page];
	if (granted === undefined) return;
	const args = ["-euc", machine.localise(page, granted.by)];
	const { code, output } = await machine.run(page, "sh", args);
	expect(code, output).toBe(0);
}

// Pages are independent of one another: while one is tested the next is under way.
describe.each(WALKED.map((page, index) => [page, WALKED[index + 1]] as const))(
	"%s",
	(page, next) => {
		const start = (): Walk => {
			const walked = walk(page);
			walk(next);
			return walked;
		};
		const granted = GRANTED[page];
		if (granted !== undefined) {
			test(`takes for granted: ${granted.what}`, () => start().get("granted"), PATIENCE_MS);
		}
		const runnable = runnableOf(page);
		for (const block of doneOf(page)) {
			test.skipIf(!runnable.includes(block))(
				`line ${block.line}, ${block.language}: ${firstLine(block)}`,
				() => start().get(block),
				PATIENCE_MS,
			);
		}
	},
);

test("the folders of the pages are those of the walk", () => {
	expect(basename(machine.folderOf("docs/cli.md"))).toBe("cli");
	expect(existsSync(machine.clone)).toBe(true);
	expect(machine.localise("docs/cli.md", "/ckpt/a ./ckpt/b x/ckpt ~/data 's=/data/c'")).toMatch(
		/^\/\S+\/ckpt\/a \.\/ckpt\/b x\/ckpt ~\/data 's=\/\S+\/data\/c'$/,
	);
});
