// Prints docs/benchmarks.md, with the numbers of results/latest.json and of the machine they come from.
//
//   node bench/section.mjs [--quick] > docs/benchmarks.md
import { readFile } from "node:fs/promises";
import { readSettings, resultName } from "./lib/settings.mjs";

const settings = readSettings();
const read = async (name) => {
	const file = new URL(`results/${resultName(name, settings)}.json`, import.meta.url);
	return JSON.parse(await readFile(file, "utf8"));
};
const rows = await read("latest");
const { machine, date, versions, commit } = await read("prepare");
const values = new Map(rows.map(({ figure, value }) => [figure, value]));

const WAYS = [
	["A fp32", "`snapshot_download`, then `convert_from_hf.py`'s method, fp32 (its default)"],
	["A bf16", "the same in bf16"],
	["B", "`snapshot_download`, then 4 gloo ranks and `dcp.save`, laid out"],
	["ours", "hf-stream-dcp"],
	["curl to null", "floor: `curl` of all bytes to nowhere"],
	["dd", "floor: `dd` of all bytes with `fsync`"],
];

function cell(figure, digits = 1) {
	const value = values.get(figure);
	return value === undefined || value === null ? "–" : value.toFixed(digits);
}

function table(head, lines) {
	const row = (cells) => `| ${cells.join(" | ")} |`;
	return [row(head), row(head.map(() => "---")), ...lines.map(row)].join("\n");
}

function prepareTable() {
	const of = (name) => (model) =>
		`${cell(`prepare, ${model}, tls: ${name}, wall`)} s, ${cell(`prepare, ${model}, tls: ${name}, CPU`)} CPU-s, ${cell(`prepare, ${model}, tls: ${name}, peak memory`, 0)} MB`;
	return table(
		["empty disk → synced checkpoint, TLS", "Llama-3-like", "Llama-4-like"],
		WAYS.map(([name, title]) => [title, ...["llama3", "llama4"].map(of(name))]),
	);
}

function goalTable() {
	// Memory has a section of its own.
	const goals = rows.filter(
		({ figure }) => figure.endsWith(", worst case") && !figure.startsWith("peak RSS"),
	);
	return table(
		["figure, worst of all cases", "measured", "goal", ""],
		goals.map(({ figure, value, unit, goal, holds }) => [
			figure.replace(", worst case", ""),
			`${value} ${unit}`,
			goal,
			holds ? "holds" : "missed",
		]),
	);
}

const gigabytes = Math.round(machine.memoryBytes / 1e9);
process.stdout.write(`# Benchmarks

From an empty disk to a synced checkpoint, against the ways that people take otherwise, and against floors that no program beats. How it is
measured, and how to repeat it: [bench/README.md](../bench/README.md); \`npm run build && npm run bench -- --quick\` repeats a small version.
Every case: [bench/results/latest.json](../bench/results/latest.json). This page is made from it by \`bench/section.mjs\`.

![Time to prepare and to load a checkpoint](bench.svg)

${prepareTable()}

Models of 2.3 GB in bf16, served by nginx on the same machine: ${machine.cores} cores of ${machine.cpu}, ${gigabytes} GB, Node ${versions.node.replace("v", "")}, torch ${versions.torch}, huggingface_hub ${versions.huggingface_hub};
${date.slice(0, 10)}, commit ${commit.slice(0, 7)}. Medians; every checkpoint was compared with its source, bit for bit, before its time counted. "Local HF files" in
the picture is real: on one machine that already has them, torch's reader beats any DCP.

## Goals

Set before the program was written, and kept here whether they hold or not.

${goalTable()}

The pipeline is held against a C program that writes past the page cache, as this program does here; against one with plain writes the
figures are ${cell("pipeline HTTP: ours beyond an empty run / C write, bytes per CPU-second", 2)} and ${cell("pipeline TLS: ours beyond an empty run / C write, bytes per CPU-second", 2)}. Program start is subtracted.

Memory, planning time and the GPU: [faq.md](faq.md), [gpu.md](gpu.md).
`);
