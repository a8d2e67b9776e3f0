import type { Argument, Command, Option } from "commander";
import { suggestionsFor } from "./suggestions.ts";

/** What a shell completes as a value. */
export interface ValueFacts {
	/** Name in the help, without brackets: `dir`, `name|file`. */
	readonly name: string;
	/** Whether paths are completed, and which. */
	readonly paths: "none" | "directories" | "files";
	/** Words that are completed. */
	readonly words: readonly string[];
}

/** A flag of a command. */
export interface FlagFacts {
	/** As it is typed: `--dp-shard`, `-h`; the long name last. */
	readonly names: readonly string[];
	/** `undefined` for a switch. */
	readonly value: ValueFacts | undefined;
	readonly description: string;
	/** Heading in the help, with its colon. */
	readonly group: string;
}

/** A command of the program. */
export interface CommandFacts {
	/** Words after the program's name; none for the program itself. */
	readonly path: readonly string[];
	/** How it is used, without the program's name and path: `<repo|directory> [flags]`. */
	readonly usage: string;
	/** One line. */
	readonly summary: string;
	readonly description: string;
	readonly arguments: readonly ValueFacts[];
	readonly flags: readonly FlagFacts[];
	readonly commands: readonly CommandFacts[];
	/** Name of the command that runs when none is named. */
	readonly defaultCommand: string | undefined;
}

/** Group of flags that are in no other. */
const FLAGS = "Flags:";

function flagFacts(option: Option): FlagFacts {
	const { short, long, required, optional, description } = option;
	const [, name = ""] = /[<[]([^>\]]+)[>\]]/.exec(option.flags) ?? [];
	const names = [short, long].filter((each) => each !== undefined);
	const isValue = required || optional;
	return {
		names,
		value: isValue ? valueFacts(name, suggestionsFor(option)) : undefined,
		description,
		group: option.helpGroupHeading ?? FLAGS,
	};
}

function valueFacts(name: string, words: readonly string[]): ValueFacts {
	const kinds = name.split("|");
	const paths = kinds.includes("file")
		? "files"
		: kinds.some((kind) => kind === "dir" || kind === "directory")
			? "directories"
			: "none";
	return { name, paths, words };
}

/** An argument is a directory as often as a name on the Hub, unless its words are known. */
function argumentFacts(argument: Argument): ValueFacts {
	const words = suggestionsFor(argument);
	return { name: argument.name(), paths: words.length > 0 ? "none" : "directories", words };
}

/** The command that commander adds for `help [command]`. */
function isHelp(command: Command): boolean {
	return command.name() === "help";
}

/**
 * The program as data, for everything that is made of it: completions, the manual page, the tables of flags.
 *
 * @param defaultCommand - Its name; commander does not tell it.
 */
export function programFacts(command: Command, defaultCommand?: string): CommandFacts {
	const path: string[] = [];
	for (let at: Command | null = command; at?.parent != null; at = at.parent) {
		path.unshift(at.name());
	}
	const help = command.createHelp();
	const commands = help.visibleCommands(command).filter((one) => !isHelp(one));
	return {
		path,
		usage: command.usage(),
		summary: command.summary(),
		description: command.description().replaceAll("\n", " "),
		arguments: command.registeredArguments.map(argumentFacts),
		flags: help.visibleOptions(command).map(flagFacts),
		commands: commands.map((one) => programFacts(one)),
		defaultCommand,
	};
}

/** A command and all below it, itself first. */
export function withDescendants(command: CommandFacts): readonly CommandFacts[] {
	return [command, ...command.commands.flatMap(withDescendants)];
}
