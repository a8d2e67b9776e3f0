import { withDescendants } from "../../dist/src/cli/program-facts.js";

const cell = (text) => text.replaceAll("|", "\\|");

/** `--dp-shard <n>`, as it is typed. */
export function spelling({ names, value }) {
	return `${names.join(", ")}${value === undefined ? "" : ` <${value.name}>`}`;
}

/** Flags by their group, in the order of the help. */
export function groupsOf(flags) {
	const groups = new Map();
	for (const flag of flags) groups.set(flag.group, [...(groups.get(flag.group) ?? []), flag]);
	return groups;
}

const key = (flag) => JSON.stringify([spelling(flag), flag.description]);

/** Fewest flags in common with `convert` that are worth a word instead of a table. */
const MANY = 10;

/**
 * The flags of a command but for `--help`: its own, and the names of those that it has in common with `convert`, when these are many.
 */
export function ownFlags(program, { path, flags }) {
	const others = flags.filter(({ names }) => !names.includes("--help"));
	const convert = program.commands.find((command) => command.path[0] === "convert");
	const known = new Set(path[0] === "convert" ? [] : convert?.flags.map(key));
	const shared = others.filter((flag) => known.has(key(flag)));
	if (shared.length < MANY) return { own: others, shared: [] };
	return {
		own: others.filter((flag) => !shared.includes(flag)),
		shared: shared.map(({ names }) => names.at(-1)),
	};
}

function flagTable({ own, shared }) {
	const rows = own.map((flag) => `| \`${cell(spelling(flag))}\` | ${cell(flag.description)} |`);
	const table = rows.length === 0 ? [] : [["| flag | |", "| --- | --- |", ...rows].join("\n")];
	const names = shared.map((name) => `\`${name}\``).join(", ");
	return shared.length === 0 ? table : [...table, `As of \`convert\`: ${names}.`];
}

/** Markdown: a heading and a table for each command. */
export function renderFlagTables(program) {
	return withDescendants(program)
		.filter(({ path, commands }) => path.length > 0 && commands.length === 0)
		.flatMap((command) => {
			const name = command.path.join(" ");
			const usage = `\`hf-stream-dcp ${name} ${command.usage.split("\n")[0]}\``;
			return [`### ${name}`, usage, ...flagTable(ownFlags(program, command))];
		})
		.join("\n\n");
}
