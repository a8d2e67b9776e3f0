import type { Command } from "commander";
import { directoryKind, HfStreamDcpError } from "../../index.ts";
import { addLogFlags, type FlagValues } from "../flags.ts";
import { expandHome } from "../expand-home.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { showCheckpoint } from "../inspect/show-checkpoint.ts";
import { showSource } from "../inspect/show-source.ts";
import { isTensorAsked, showTensor } from "../inspect/show-tensor.ts";
import { DEFAULT_LIMIT, DEFAULT_TREE_LIMIT, readView } from "../inspect/view.ts";
import type { CliIo } from "../io.ts";

/** Adds `inspect`, which shows what a checkpoint or a model repository holds, and the values of its tensors. */
export function addInspectCommand(program: Command, io: CliIo): void {
	const command = program
		.command("inspect")
		.usage("<directory|repo> [flags]")
		.summary("show the modules, tensors and values of a checkpoint, or of a Hub repository")
		.description(
			"Show the modules and tensors of any DCP directory (ours or torch's), or of a model on the Hub or in a directory, or with\n--tensor the values and statistics of one. Nothing in a checkpoint is executed, and no weights are read but those asked for.",
		)
		.argument("<target>", "a directory with .metadata or safetensors files, or org/name on the Hub")
		.option("--revision <ref>", "branch, tag or commit on the Hub (default: main)")
		.option("--depth <n>", "levels of modules to show (default: all)")
		.option("--module <prefix>", "only what lies below this module: layers.0.attention")
		.option("--flat", "a table of all tensors instead of the tree, and one of the files")
		.option("--files", "the table of the files alone")
		.option(
			"--limit <n>",
			`rows of each table, 0 for all (default: ${DEFAULT_LIMIT}; of a tree ${DEFAULT_TREE_LIMIT})`,
		)
		.option("--json", "everything, as JSON");
	addTensorFlags(command);
	addLogFlags(command)
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp inspect /ckpt/step-0",
				"hf-stream-dcp inspect /ckpt/step-0 --module layers.0 --depth 2",
				"hf-stream-dcp inspect /ckpt/step-0 --tensor layers.0.attention.wq.weight",
				"hf-stream-dcp inspect /ckpt/step-0 --tensor 'tok_embeddings.weight[:4,-8:]' --source",
				"hf-stream-dcp inspect meta-llama/Llama-4-Scout-17B-16E --json",
			]),
		)
		.addHelpText("after", exitCodeHelp())
		.action(async (argument: string, values: FlagValues) => {
			const target = expandHome(argument, io.env);
			if (isTensorAsked(values)) return await showTensor(io, target, values);
			const view = readView(values);
			const kind = await directoryKind(target);
			if (kind === "checkpoint") await showCheckpoint(io, target, view);
			else if (kind === "unfinished") throw unfinished(target);
			else await showSource(io, target, view, values);
		});
}

function addTensorFlags(command: Command): void {
	const group = "One tensor:";
	command
		.optionsGroup(group)
		.option(
			"--tensor <name>",
			"values and statistics of a tensor, or of a block of it: 'NAME[0:4,:,-1]'",
		)
		.option("--chunk <n>", "of the tensor's stored chunks this one alone, from 0")
		.option("--entry <file:offset>", "the stored chunk that begins there in the checkpoint")
		.option(
			"--source [repo]",
			"make it again of the model it came from, and compare; or of another model",
		)
		.option("--precision <n>", "digits of values after the point (default: 4)")
		.option("--no-stats", "read only the values that are shown")
		.optionsGroup("Options:");
}

function unfinished(directory: string): HfStreamDcpError {
	return new HfStreamDcpError(
		"CHECKPOINT_CORRUPT",
		`${directory} has no .metadata: it is not a finished checkpoint`,
		{ hint: "Run the command that was writing it again: it continues where it stopped." },
	);
}
