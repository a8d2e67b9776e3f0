import type { Command } from "commander";
import { expect, test } from "vitest";
import { createProgram, main } from "../../src/cli/main.ts";
import { normaliseArguments } from "../../src/cli/mesh-flags.ts";
import { programFacts, withDescendants } from "../../src/cli/program-facts.ts";
import { listFamilies, listTargets } from "../../src/index.ts";
import { createFakeIo } from "../support/cli-io.ts";
import { readPage } from "../support/markdown.ts";

async function help(...argv: string[]): Promise<string> {
	const io = createFakeIo();
	expect(await main([...argv, "--help"], io)).toBe(0);
	expect(io.takeErr()).toBe("");
	return io.out();
}

test("the flags of a conversion", () => {
	const convert = createProgram(createFakeIo()).commands.find(
		(command) => command.name() === "convert",
	);
	expect(convert?.helpInformation()).toMatchInlineSnapshot(`
		"Usage: hf-stream-dcp convert <repo|directory> --out DIR [flags]

		Stream a Hugging Face model into a PyTorch Distributed Checkpoint, cut for one training mesh.

		Arguments:
		  repo                                           org/name on the Hub, or a directory with
		                                                 safetensors files

		Options:
		  --out <dir>                                    directory of the checkpoint
		  --hash <hash>                                  of each entry, in the manifest: sha256 or none
		                                                 (default: sha256)
		  --overwrite                                    replace a finished checkpoint in --out
		  -h, --help                                     print help for a command

		Model and target:
		  --revision <ref>                               branch, tag or commit on the Hub (default: main)
		  --target <profile>                             key profile of the trainer; listed below (default:
		                                                 torchtitan)
		  --family <name|file>                           model family, listed below, or a file:
		                                                 ./my-family.json (default: by config.json)
		  --dtype <dtype>                                keep, bfloat16, float16 or float32 (default: keep)
		  --keep-quantized                               store FP8, MXFP4, … weights and their scales as
		                                                 they are

		Resources:
		  --memory <size>                                memory of a thread beyond Node's own, e.g. 256MiB,
		                                                 2GB (default: 256MiB)
		  --connections <n>                              most connections to one origin, of all threads
		                                                 together (default: 16)
		  --threads <n>                                  threads that fetch and write, or auto (default:
		                                                 auto)
		  --device <device>                              what reshards: cpu, webgpu, or auto (default: auto)

		Mesh of the training job:
		  --dp-replicate <n>                             copies of the sharded model (HSDP)
		  --dp-shard <n>                                 FSDP degree; -1 takes the ranks that --world-size
		                                                 leaves
		  --tp <n>                                       tensor parallel degree
		  --cp <n>                                       context parallel degree
		  --pp <n>                                       pipeline parallel degree
		  --ep <n>                                       expert parallel degree
		  --etp <n>                                      expert tensor parallel degree, for targets that
		                                                 have it
		  --world-size <n>                               ranks of the training job; checked against the mesh
		  --pp-schedule <name>                           pipeline schedule: 1F1B, Interleaved1F1B, …
		  --pp-layers-per-stage <n>                      layers of one pipeline stage
		  --pp-first-stage-less-layers <n>               layers that the embedding counts for
		  --pp-last-stage-less-layers <n>                layers that norm and head count for
		  --pp-module-fqns <parts>                       modules of every stage:
		                                                 "tok_embeddings,layers.0;layers.1,norm,lm_head" or
		                                                 JSON

		Instead of a mesh:
		  --like <dir>                                   keys, blocks, dtypes and files as in this
		                                                 checkpoint of the training job
		  --layout <file>                                as this file says, or a folder of one per rank
		                                                 (docs/layouts.md)

		The same by torchtitan's names, --parallelism.NAME:
		  data_parallel_replicate_degree <n>             as --dp-replicate
		  data_parallel_shard_degree <n>                 as --dp-shard
		  tensor_parallel_degree <n>                     as --tp
		  context_parallel_degree <n>                    as --cp
		  pipeline_parallel_degree <n>                   as --pp
		  expert_parallel_degree <n>                     as --ep
		  expert_tensor_parallel_degree <n>              as --etp
		  pipeline_parallel_schedule <name>              as --pp-schedule
		  pipeline_parallel_layers_per_stage <n>         as --pp-layers-per-stage
		  pipeline_parallel_first_stage_less_layers <n>  as --pp-first-stage-less-layers
		  pipeline_parallel_last_stage_less_layers <n>   as --pp-last-stage-less-layers
		  module_fqns_per_model_part <parts>             as --pp-module-fqns

		Log:
		  --log-format <format>                          of everything on stderr (choices: "text", "json",
		                                                 default: "text")
		  --log-interval <seconds>                       between two lines of progress in a log (default: 5)
		  --quiet                                        no progress; warnings and errors only

		Workers:
		  --workers <n>                                  start n workers as processes of this machine, with
		                                                 one log
		  --worker <i/n>                                 be worker i of n, from 0 on (default: as the
		                                                 launcher says)
		  --no-takeover                                  leave what dead workers left to the next run
		  --lease <seconds>                              a worker is dead after so long without a sign of
		                                                 life (default: 60)
		  --grace <seconds>                              for an orderly stop after SIGTERM (default: 20)
		  --local-output                                 --out is on a disk of this machine: write what its
		                                                 ranks hold
		  --ranks <list>                                 those ranks, e.g. 0-7,16 (default: worker i of n
		                                                 has the i-th n-th)
		"
	`);
});

test.each([[[]], [["convert"]], [["plan"]]])(
	"%j --help lists every target, family and exit code",
	async (argv) => {
		const text = await help(...argv);
		for (const line of [...listTargets(), ...listFamilies()]) expect(text).toContain(line);
		for (const code of [0, 1, 2, 3, 4, 5, 6, 130, 143])
			expect(text).toMatch(new RegExp(`\\b${code} \\w`));
	},
);

/** Every command of the program but `help`, by its words. */
const COMMANDS = withDescendants(programFacts(createProgram(createFakeIo()), "convert"));

/** The lines of a command's help that are examples. */
async function examplesOf(path: readonly string[]): Promise<readonly string[]> {
	const text = await help(...path);
	const [, examples = ""] = /\nExamples:\n((?: {2}.*\n)+)/.exec(text) ?? [];
	return examples.split("\n").flatMap((line) => (line === "" ? [] : [line.trim()]));
}

/** Words of a shell's line after `hf-stream-dcp`, up to where its output goes. */
function argumentsOf(example: string): string[] {
	const [line = ""] = example.split(/ (?:>|\||&&) /);
	return line
		.slice(line.indexOf("hf-stream-dcp "))
		.trim()
		.split(/ +/)
		.slice(1)
		.map((word) => word.replaceAll(/^(['"])(.*)\1$/g, "$2"));
}

test.each(COMMANDS.map(({ path }) => [path.join(" "), path] as const))(
	"%s --help has examples of it that parse",
	async (name, path) => {
		const examples = await examplesOf(path);
		expect(examples.length).toBeGreaterThan(0);
		for (const example of examples) {
			const parsed: string[] = [];
			const program = createProgram(createFakeIo());
			for (const command of commandsOf(program)) {
				if (command.commands.length > 0) continue;
				command.action((...values) => void parsed.push(wordsOf(values.at(-1) as Command)));
			}
			await program.parseAsync(normaliseArguments(argumentsOf(example)), { from: "user" });
			expect(parsed, example).toHaveLength(1);
			expect(`${parsed[0]} `, example).toMatch(new RegExp(`^${name} ?`));
		}
	},
);

/** The words of a command after the program's name. */
function wordsOf(command: Command): string {
	const above = command.parent?.parent == null ? "" : `${wordsOf(command.parent)} `;
	return `${above}${command.name()}`;
}

function commandsOf(command: Command): readonly Command[] {
	return command.commands.flatMap((one) => [one, ...commandsOf(one)]);
}

test("the flags that docs/cli.md names are flags of the program, all of them", () => {
	const flags = new Set(COMMANDS.flatMap((command) => command.flags.flatMap(({ names }) => names)));
	const cli = readPage("docs/cli.md");
	const isNamed = (flag: string): boolean =>
		cli.includes(`\`${flag}\``) || cli.includes(`\`${flag} `);
	expect(
		[...flags].filter((flag) => !/^(?:--help|-h|--version)$/.test(flag) && !isNamed(flag)),
	).toEqual([]);
	const named = [...cli.matchAll(/`(--[a-z][\w.-]*)/g)].map(([, flag = ""]) => flag);
	expect(named.length).toBeGreaterThan(50);
	expect(named.filter((flag) => !flags.has(flag) && !isForeign(flag))).toEqual([]);
});

/** Flags of other programs, and torchtitan's common beginning. */
function isForeign(flag: string): boolean {
	return ["--parallelism.", "--standalone", "--version", "--help", "--pty"].includes(flag);
}

test("family without a command prints what there is, and is a mistake", async () => {
	const io = createFakeIo();
	expect(await main(["family"], io)).toBe(2);
	expect(io.takeErr()).toMatch(/check .*\n[^]*show .*\n[^]*list /);
	expect(await main(["family", "chek"], io)).toBe(2);
});

test("the program's help names the commands and the flags of a conversion", async () => {
	const text = await help();
	for (const word of [
		"convert",
		"plan",
		"inspect",
		"demo",
		"--out <dir>",
		"--dp-shard <n>",
		"tensor_parallel_degree <n>",
	]) {
		expect(text).toContain(word);
	}
});

test("help is a command, too", async () => {
	const io = createFakeIo();
	expect(await main(["help", "plan"], io)).toBe(0);
	expect(io.out()).toBe(await help("plan"));
});

test.each(["inspect", "demo"])("%s --help", async (name) => {
	expect(await help(name)).toMatch(/^Usage: hf-stream-dcp .*\n[^]*Exit codes:/);
});
