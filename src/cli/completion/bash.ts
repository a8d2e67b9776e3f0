import type { CommandFacts, ValueFacts } from "../program-facts.ts";
import { completionStates, type CompletionState, shellQuote } from "./paths.ts";

const words = (list: readonly string[]): string => shellQuote(list.join(" "));

function pathWords({ paths }: ValueFacts): string {
	return { none: "", directories: "-d", files: "-f" }[paths];
}

/** `'plan --target') values='hf …' paths= ;;`, for each flag with a value. */
function valueCases({ path, flags }: CompletionState): string[] {
	return flags.flatMap(({ names, value }) => {
		if (value === undefined) return [];
		const keys = names.map((name) => shellQuote(`${path} ${name}`)).join("|");
		return [`${keys}) values=${words(value.words)} paths=${pathWords(value)} ;;`];
	});
}

function stateCase({ path, commands, flags, argument }: CompletionState): string {
	const names = commands.map((command) => command.path.at(-1) ?? "");
	const rest = argument === undefined ? "" : pathWords(argument);
	return [
		`${shellQuote(path)}) commands=${words([...names, ...(argument?.words ?? [])])} paths=${rest}`,
		`\t\tflags=${words(flags.flatMap((flag) => flag.names))} ;;`,
	].join("\n");
}

function indent(lines: readonly string[]): string {
	return lines.map((line) => `\t${line}`).join("\n");
}

/**
 * A completion script for bash 3.2 and later, with nothing but bash.
 *
 * Bash splits words at `=`, `:` and `@` too, and wants only what comes after the last of them, with the `@`: the whole word is taken from the
 * line, and what bash has typed is cut off the answers. Quoted blanks in a line are taken for separators.
 */
export function bashCompletion(program: CommandFacts): string {
	const states = completionStates(program);
	const commands = states.filter(({ path }) => path !== "").map(({ path }) => shellQuote(path));
	return `# Completion of hf-stream-dcp for bash, made by: hf-stream-dcp completion bash
_hf_stream_dcp_values() {
	values= paths=
	case "$1 $2" in
${indent(states.flatMap(valueCases))}
	*) return 1 ;;
	esac
}
_hf_stream_dcp() {
	local line="\${COMP_LINE:0:COMP_POINT}" token path= word previous= commands= flags= values= paths= typed IFS
	token="\${line##*[[:space:]]}"
	IFS=$' \\t\\n'
	local -a before
	read -ra before <<<"\${line%"$token"}"
	for word in "\${before[@]:1}"; do
		if _hf_stream_dcp_values "$path" "$previous"; then
			previous= # The word was the value of a flag.
			continue
		fi
		previous="$word"
		[[ $word == -* ]] && continue
		case "\${path:+$path }$word" in
		${commands.join("|")}) path="\${path:+$path }$word" ;;
		*) : "\${path:=${program.defaultCommand ?? ""}}" ;;
		esac
	done
	typed="$token"
	[[ $COMP_WORDBREAKS == *=* ]] && typed="\${typed##*=}"
	[[ $COMP_WORDBREAKS == *:* ]] && typed="\${typed##*:}"
	[[ $COMP_WORDBREAKS == *@* && $typed == *@* ]] && typed="@\${typed##*@}"
	if [[ $token == --*=* ]]; then
		_hf_stream_dcp_values "$path" "\${token%%=*}" || return 0
		token="\${token#*=}"
	elif ! _hf_stream_dcp_values "$path" "$previous"; then
		case "$path" in
${indent(states.map((state) => `\t${stateCase(state)}`))}
		esac
		values="$commands"
		[[ $token == -* ]] && values="$flags" paths=
	fi
	COMPREPLY=($(compgen -W "$values" -- "$token"))
	IFS=$'\\n'
	if [[ -n $paths ]]; then
		compopt -o filenames 2>/dev/null
		COMPREPLY+=($(compgen "$paths" -- "$token"))
	fi
	COMPREPLY=("\${COMPREPLY[@]#"\${token%"$typed"}"}")
}
complete -F _hf_stream_dcp hf-stream-dcp
`;
}
