import { type CommandFacts, type FlagFacts, withDescendants } from "../program-facts.ts";

/** What can follow when some commands have been typed. */
export interface CompletionState {
	/** Words of the commands that were typed: `family check`; empty for none. */
	readonly path: string;
	/** Commands that can follow. */
	readonly commands: readonly CommandFacts[];
	readonly flags: readonly FlagFacts[];
	/** The argument to be completed, if there is one. */
	readonly argument: CommandFacts["arguments"][number] | undefined;
}

/** Every state of the program; where no command was typed, the flags and the argument of the default one can follow, too. */
export function completionStates(program: CommandFacts): readonly CompletionState[] {
	const fallback = program.commands.find(({ path }) => path[0] === program.defaultCommand);
	return withDescendants(program).map((command) => {
		const isProgram = command.path.length === 0;
		const own = isProgram && fallback !== undefined ? fallback : command;
		const flags = isProgram ? merge(own.flags, command.flags) : own.flags;
		return {
			path: command.path.join(" "),
			commands: command.commands,
			flags,
			argument: own.arguments[0],
		};
	});
}

function merge(first: readonly FlagFacts[], second: readonly FlagFacts[]): readonly FlagFacts[] {
	const names = new Set(first.flatMap((flag) => flag.names));
	return [...first, ...second.filter((flag) => !flag.names.some((name) => names.has(name)))];
}

/** `text` between single quotes, for bash and zsh. */
export function shellQuote(text: string): string {
	return `'${text.replaceAll("'", `'\\''`)}'`;
}
