import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { createDemoModel } from "../../demo/demo-model.ts";
import { createLocalHub } from "../../demo/local-hub.ts";
import { parseConvertOptions } from "../../index.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { exitCodeHelp } from "../help.ts";
import type { CliIo } from "../io.ts";
import { runConvert } from "./convert-command.ts";
import { showCheckpoint } from "./inspect-command.ts";

/** The mesh of the demo: 8 ranks, every kind of cut. */
const MESH = { dpShard: 4, tp: 2, ep: 4 } as const;

/** Rows of each table that the demo ends with. */
const SHOWN_ROWS = 12;

/** Adds `demo`, the main command on a small model from a Hub of its own. */
export function addDemoCommand(program: Command, io: CliIo): void {
	const command = program
		.command("demo")
		.usage("[--out DIR] [flags]")
		.summary("convert a small generated model from a Hub inside this process")
		.description(
			"Generate a small Llama-4-shaped model, serve it from a Hub inside this process, convert it for a mesh of\n8 ranks (--dp-shard 4 --tp 2 --ep 4) and inspect the result. Needs no network and no account.",
		)
		.option(
			"--out <dir>",
			"directory of the checkpoint; an earlier demo in it is replaced",
			"./demo-checkpoint",
		);
	addLogFlags(command)
		.addHelpText("after", exitCodeHelp())
		.action(async (values: FlagValues) => {
			await runDemo(io, resolve(String(values["out"])), values);
		});
}

async function runDemo(io: CliIo, out: string, values: FlagValues): Promise<void> {
	const isText = values["logFormat"] !== "json";
	const model = createDemoModel();
	await using hub = await createLocalHub({ repos: [model] });
	const home = await mkdtemp(join(tmpdir(), "hf-stream-dcp-demo-"));
	try {
		const options = parseConvertOptions({
			repo: model.id,
			out,
			overwrite: true,
			parallelism: MESH,
			environment: { HF_ENDPOINT: hub.endpoint, HF_HOME: home },
		});
		if (isText) {
			io.stdout.write(
				`A Hub inside this process serves ${model.id} at ${hub.endpoint}. With it, this runs:\n\n  hf-stream-dcp ${model.id} --out ${out} --dp-shard ${MESH.dpShard} --tp ${MESH.tp} --ep ${MESH.ep}\n\n`,
			);
		}
		await runConvert(io, options, values);
		if (isText) {
			io.stdout.write(`\nhf-stream-dcp inspect ${out} --limit ${SHOWN_ROWS}\n\n`);
			await showCheckpoint(io, out, SHOWN_ROWS, false);
		}
	} finally {
		await rm(home, { recursive: true, force: true });
	}
}
