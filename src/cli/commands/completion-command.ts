import { Argument, type Command } from "commander";
import { bashCompletion } from "../completion/bash.ts";
import { fishCompletion } from "../completion/fish.ts";
import { zshCompletion } from "../completion/zsh.ts";
import { examplesHelp } from "../help.ts";
import type { CliIo } from "../io.ts";
import { type CommandFacts, programFacts } from "../program-facts.ts";

const SHELLS: { readonly [shell: string]: (program: CommandFacts) => string } = {
	bash: bashCompletion,
	zsh: zshCompletion,
	fish: fishCompletion,
};

/**
 * Adds `completion`, which prints what teaches a shell the commands and flags.
 *
 * @param defaultCommand - Name of the command that runs when none is named.
 */
export function addCompletionCommand(program: Command, io: CliIo, defaultCommand: string): void {
	program
		.command("completion")
		.usage("<bash|zsh|fish>")
		.summary("print a script that completes commands, flags and values in a shell")
		.description(
			"Print a script that completes commands, flags and their values in a shell. It calls nothing when it completes, so make\nit again after an update.",
		)
		.addArgument(new Argument("<shell>", "which shell").choices(Object.keys(SHELLS)))
		.addHelpText(
			"after",
			examplesHelp([
				"hf-stream-dcp completion bash > ~/.local/share/bash-completion/completions/hf-stream-dcp",
				"hf-stream-dcp completion zsh > ~/.zfunc/_hf-stream-dcp",
				"hf-stream-dcp completion fish > ~/.config/fish/completions/hf-stream-dcp.fish",
			]),
		)
		.action((shell: string) => {
			const facts = programFacts(program, defaultCommand);
			io.stdout.write(SHELLS[shell]?.(facts) ?? "");
		});
}
