import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { createDemoModel } from "../../demo/demo-model.ts";
import { createLocalHub } from "../../demo/local-hub.ts";
import { HfStreamDcpError, parseConvertOptions } from "../../index.ts";
import { expandHome } from "../expand-home.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import type { CliIo } from "../io.ts";
import { showCheckpoint } from "../inspect/show-checkpoint.ts";
import { readView } from "../inspect/view.ts";
import { runConvert } from "./convert-command.ts";

/** The mesh of the demo: 8 ranks, every kind of cut. */
const MESH = { dpShard: 4, tp: 2, ep: 4 } as const;

/** Lies beside a checkpoint of the demo and holds the SHA-256 of its `.metadata`: the demo replaces nothing else. */
const MARKER = ".hf-stream-dcp-demo";

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
		.addHelpText(
			"after",
			examplesHelp(["hf-stream-dcp demo", "hf-stream-dcp demo --out /tmp/demo-checkpoint --quiet"]),
		)
		.addHelpText("after", exitCodeHelp())
		.action(async (values: FlagValues) => {
			await runDemo(io, resolve(expandHome(String(values["out"]), io.env)), values);
		});
}

async function runDemo(io: CliIo, out: string, values: FlagValues): Promise<void> {
	const overwrite = existsSync(join(out, ".metadata"));
	if (overwrite) await assertDemoCheckpoint(out);
	const model = createDemoModel();
	await using hub = await createLocalHub({ repos: [model] });
	const home = await mkdtemp(join(tmpdir(), "hf-stream-dcp-demo-"));
	try {
		const options = parseConvertOptions({
			repo: model.id,
			out,
			overwrite,
			parallelism: MESH,
			environment: { HF_ENDPOINT: hub.endpoint, HF_HOME: home },
		});
		const isText = values["logFormat"] !== "json";
		if (isText) {
			const flags = `--dp-shard ${MESH.dpShard} --tp ${MESH.tp} --ep ${MESH.ep}`;
			io.stdout.write(
				`A Hub inside this process serves ${model.id} at ${hub.endpoint}. With it, this runs:\n\n  hf-stream-dcp ${model.id} --out ${out} ${flags}\n\n`,
			);
		}
		await runConvert(io, options, values);
		await writeFile(join(out, MARKER), await metadataDigest(out));
		if (isText) {
			io.stdout.write(`\n  hf-stream-dcp inspect ${out}\n\n`);
			await showCheckpoint(io, out, readView({}));
		}
	} finally {
		await rm(home, { recursive: true, force: true });
	}
}

async function metadataDigest(directory: string): Promise<string> {
	const bytes = await readFile(join(directory, ".metadata"));
	return `${createHash("sha256").update(bytes).digest("hex")}\n`;
}

async function assertDemoCheckpoint(out: string): Promise<void> {
	const isDemo =
		existsSync(join(out, MARKER)) &&
		(await readFile(join(out, MARKER), "utf8")) === (await metadataDigest(out));
	if (isDemo) return;
	throw new HfStreamDcpError("OUTPUT_EXISTS", `${out} holds a checkpoint that is not the demo's`, {
		hint: "Choose another directory with --out, or remove this one.",
		facts: { directory: out },
	});
}
