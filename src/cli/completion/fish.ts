import type { CommandFacts, FlagFacts, ValueFacts } from "../program-facts.ts";
import { completionStates, type CompletionState } from "./paths.ts";

/** `text` between single quotes, for fish: only quotes and backslashes are escaped there. */
function quote(text: string): string {
	return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}

function valueFlags({ words, paths }: ValueFacts): string {
	const list = words.length === 0 ? "" : ` -a ${quote(words.join(" "))}`;
	if (paths === "none") return `-x${list}`;
	return paths === "files" ? `-r -F${list}` : `-x -a '(__fish_complete_directories)'${list}`;
}

function flagLine(condition: string, { names, value, description }: FlagFacts): string {
	const spelled = names.map((name) =>
		name.startsWith("--") ? `-l ${quote(name.slice(2))}` : `-s ${quote(name.slice(1))}`,
	);
	const parts = [condition, ...spelled, value === undefined ? "" : valueFlags(value)];
	return [...parts.filter((part) => part !== ""), `-d ${quote(description)}`].join(" ");
}

function stateLines({ path, commands, flags, argument }: CompletionState): string[] {
	const condition = `complete -c hf-stream-dcp -n ${quote(`__hf_stream_dcp_at ${quote(path)}`)}`;
	const lines = commands.map(
		(command) =>
			`${condition} -f -a ${quote(command.path.at(-1) ?? "")} -d ${quote(command.summary)}`,
	);
	if (argument !== undefined) {
		if (argument.words.length > 0) {
			lines.push(`${condition} -f -a ${quote(argument.words.join(" "))}`);
		}
		if (argument.paths !== "none") {
			lines.push(`${condition} -f -a '(__fish_complete_directories)'`);
		}
	}
	return [...lines, ...flags.map((flag) => flagLine(condition, flag))];
}

/** A completion script for fish 3 and later. */
export function fishCompletion(program: CommandFacts): string {
	const states = completionStates(program);
	const commands = states.filter(({ path }) => path !== "").map(({ path }) => quote(path));
	const withValue = states.flatMap(({ path, flags }) =>
		flags.flatMap(({ names, value }) =>
			value === undefined ? [] : names.map((name) => quote(`${path} ${name}`)),
		),
	);
	return `# Completion of hf-stream-dcp for fish, made by: hf-stream-dcp completion fish
function __hf_stream_dcp_at
    set -l path
    set -l previous
    for word in (commandline -opc)[2..-1]
        if contains -- "$path $previous" ${withValue.join(" ")}
            set previous
            continue
        end
        set previous $word
        string match -q -- '-*' $word; and continue
        set -l longer (string trim -- "$path $word")
        if contains -- $longer ${commands.join(" ")}
            set path $longer
        else if test -z "$path"
            set path ${program.defaultCommand ?? "''"}
        end
    end
    test "$path" = "$argv[1]"
end
complete -c hf-stream-dcp -f
${states.flatMap(stateLines).join("\n")}
`;
}
