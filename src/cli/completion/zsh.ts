import type { CommandFacts, ValueFacts } from "../program-facts.ts";
import { completionStates, type CompletionState, shellQuote } from "./paths.ts";

/** `name:description`, as `_describe` takes it. */
function described(name: string, text: string): string {
	return shellQuote(`${name.replaceAll(":", "\\:")}:${text}`);
}

function valueLines({ words, paths }: ValueFacts): string {
	const lines = words.length === 0 ? [] : [`compadd -- ${words.map(shellQuote).join(" ")}`];
	if (paths === "directories") lines.push("_files -/");
	if (paths === "files") lines.push("_files");
	return lines.length === 0 ? ":" : lines.join("; ");
}

function valueCases({ path, flags }: CompletionState): string[] {
	return flags.flatMap(({ names, value }) => {
		if (value === undefined) return [];
		const keys = names.map((name) => shellQuote(`${path} ${name}`)).join("|");
		return [`\t(${keys}) ${valueLines(value)} ;;`];
	});
}

function stateCase({ path, commands, flags, argument }: CompletionState): string {
	const names = commands.map((command) => described(command.path.at(-1) ?? "", command.summary));
	const flagWords = flags.flatMap((flag) =>
		flag.names.map((name) => described(name, flag.description)),
	);
	const others =
		names.length === 0 ? [] : [`words_=(${names.join(" ")}); _describe command words_`];
	if (argument !== undefined) others.push(valueLines(argument));
	return `	(${shellQuote(path)})
		if [[ $word == -* ]]; then
			words_=(${flagWords.join(" ")}); _describe flag words_
		else
			${others.length === 0 ? ":" : others.join("; ")}
		fi ;;`;
}

/** A completion script for zsh; a file `_hf-stream-dcp` in `fpath`, or sourced after `compinit`. */
export function zshCompletion(program: CommandFacts): string {
	const states = completionStates(program);
	const commands = states.filter(({ path }) => path !== "").map(({ path }) => shellQuote(path));
	const valueFlags = states.flatMap(({ path, flags }) =>
		flags.flatMap(({ names, value }) =>
			value === undefined ? [] : names.map((name) => shellQuote(`${path} ${name}`)),
		),
	);
	return `#compdef hf-stream-dcp
# Completion of hf-stream-dcp for zsh, made by: hf-stream-dcp completion zsh
_hf_stream_dcp_value() {
	case "$1 $2" in
${states.flatMap(valueCases).join("\n")}
	esac
}
_hf_stream_dcp() {
	local path_= previous= word
	local -a words_ with_value
	with_value=(${valueFlags.join(" ")})
	for word in \${words[2,CURRENT-1]}; do
		if (( \${with_value[(Ie)$path_ $previous]} )); then
			previous=
			continue
		fi
		previous=$word
		[[ $word == -* ]] && continue
		case "\${path_:+$path_ }$word" in
		(${commands.join("|")}) path_="\${path_:+$path_ }$word" ;;
		(*) : \${path_:=${program.defaultCommand ?? ""}} ;;
		esac
	done
	word=\${words[CURRENT]}
	if [[ $word == --*=* ]]; then
		compset -P '*='
		_hf_stream_dcp_value "$path_" "\${word%%=*}"
		return
	fi
	if (( \${with_value[(Ie)$path_ $previous]} )); then
		_hf_stream_dcp_value "$path_" "$previous"
		return
	fi
	case "$path_" in
${states.map(stateCase).join("\n")}
	esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
	_hf_stream_dcp "$@"
else
	compdef _hf_stream_dcp hf-stream-dcp
fi
`;
}
