import type { Command } from "commander";

/** Flags that the starting process keeps to itself, by attribute. */
const OWN_FLAGS: ReadonlySet<string> = new Set([
	"workers",
	"worker",
	"logFormat",
	"quiet",
	"logInterval",
]);

/**
 * The flags that were given on the command line, each as one argument, for another process of this program. Those about workers and
 * about the log are left out.
 *
 * @param command - After it was parsed.
 */
export function passedFlags(command: Command): readonly string[] {
	const args: string[] = [];
	for (const option of command.options) {
		const name = option.attributeName();
		if (OWN_FLAGS.has(name) || command.getOptionValueSource(name) !== "cli") continue;
		const value: unknown = command.getOptionValue(name);
		// `--overwrite`, and `--no-takeover`, whose value is false.
		if (typeof value === "boolean")
			args.push(...(value === !option.negate ? [flagOf(option)] : []));
		else args.push(`${flagOf(option)}=${String(value)}`);
	}
	return args;
}

function flagOf({ long, short, flags }: Command["options"][number]): string {
	return long ?? short ?? flags;
}
