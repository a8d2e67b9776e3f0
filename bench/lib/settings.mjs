// What prepare, use and memory have in common: sizes, rounds, where things lie.
import { execFileSync } from "node:child_process";
import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
	llama3,
	llama4,
	modelBytes,
	smallLlama3,
	smallLlama4,
	writeModel,
} from "../synthetic-model.mjs";

const bench = dirname(dirname(fileURLToPath(import.meta.url)));

/** The built command line. */
export const CLI = join(bench, "../dist/bin/hf-stream-dcp.js");

/** The release of torchtitan whose names both models have. */
export const TARGET = ["--target", "torchtitan@2026-06"];

/** Path of a Python rival. @param {string} name */
export function rival(name) {
	return join(bench, "rivals", name);
}

/**
 * @typedef {object} Settings
 * @property {boolean} isQuick small models, few rounds
 * @property {boolean} isFull also what takes long or much disk
 * @property {number | undefined} rounds where the default is not wanted
 * @property {Record<string, import("../synthetic-model.mjs").Model>} models by name
 * @property {string[] | undefined} networks where not all are wanted
 */

/**
 * Flags of the benchmark scripts: `--quick`, `--full`, `--rounds N`, `--models llama3,llama4`, `--networks http,tls,far`.
 *
 * @param {string[]} [args]
 * @returns {Settings}
 */
export function readSettings(args = process.argv.slice(2)) {
	const text = { type: /** @type {const} */ ("string") };
	const flag = { type: /** @type {const} */ ("boolean"), default: false };
	const options = { quick: flag, full: flag, rounds: text, models: text, networks: text };
	const { values } = parseArgs({ args, options });
	const all = values.quick
		? { llama3: smallLlama3(), llama4: smallLlama4() }
		: { llama3: llama3(), llama4: llama4() };
	const wanted = values.models?.split(",") ?? Object.keys(all);
	return {
		isQuick: values.quick,
		isFull: values.full,
		rounds: values.rounds === undefined ? undefined : Number(values.rounds),
		models: Object.fromEntries(wanted.map((name) => [name, all[name]])),
		networks: values.networks?.split(","),
	};
}

/** The file of results that a script writes: quick runs do not replace the others'. @param {string} name @param {Settings} settings */
export function resultName(name, { isQuick }) {
	return isQuick ? `quick/${name}` : name;
}

/**
 * Where files of these many bytes stay in memory, so that what serves them never waits for a disk: `/dev/shm` if they take less
 * than a third of it.
 *
 * @param {number} bytes
 * @returns {Promise<string | undefined>} the parent folder; undefined for the system's temporary one
 */
export async function memoryFolder(bytes) {
	const facts = await statfs("/dev/shm").catch(() => undefined);
	return facts !== undefined && facts.bavail * facts.bsize > 3 * bytes ? "/dev/shm" : undefined;
}

/** @param {Record<string, import("../synthetic-model.mjs").Model>} models */
export function totalBytes(models) {
	return Object.values(models).reduce((sum, model) => sum + modelBytes(model), 0);
}

/** Writes every model to a folder of its name. @param {string} folder @param {Record<string, import("../synthetic-model.mjs").Model>} models */
export async function writeModels(folder, models) {
	for (const [name, model] of Object.entries(models)) await writeModel(join(folder, name), model);
}

/** Whether the built command line has a flag. @param {string} flag */
export function hasFlag(flag) {
	return execFileSync(process.execPath, [CLI, "convert", "--help"], { encoding: "utf8" }).includes(
		flag,
	);
}

/** @param {string} text of progress, for people */
export function say(text) {
	process.stderr.write(`${text}\n`);
}
