// The competitors of prepare.mjs: how each one is started in an empty folder; what it makes lies in `out` there.
import { mkdirSync, writeFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { rival } from "./lib/settings.mjs";

/** Connections of curl, as many as `huggingface_hub` has workers. */
const CURL_CONNECTIONS = 8;

const CURL_RANGE_BYTES = 32 * 2 ** 20;

/** Ranks that rival B runs on, and the mesh that its and our checkpoints are cut for. */
const RANKS = 4;

/**
 * @typedef {object} Variant
 * @property {string} name unique among the variants
 * @property {string} [dtype] of the checkpoint it makes; none for a floor
 * @property {boolean} [hasSteps] prints the seconds of its steps as JSON
 * @property {(folder: string) => { command: string, args: string[], env: Record<string, string> }} make what to run
 */

/**
 * @param {object} options
 * @param {string | undefined} options.python without it, the Python rivals are left out
 * @param {string} options.cli
 * @param {string[]} options.flags mesh and target of our checkpoint
 * @param {number[]} options.threads
 * @param {string} options.modelName
 * @param {string} options.directory of the model, where the floors find what is to be written
 * @param {import("./lib/networks.mjs").Network} options.network
 * @param {boolean} options.hasCurl
 * @returns {Promise<Variant[]>}
 */
export async function prepareVariants(options) {
	const files = await weightFiles(options.directory);
	return [
		...(options.python === undefined ? [] : pythonRivals(options)),
		...ours(options),
		...(options.hasCurl ? curlFloors(options, files) : []),
		...diskFloors(files),
	];
}

async function weightFiles(directory) {
	const names = (await readdir(directory)).filter((name) => name.endsWith(".safetensors"));
	return Promise.all(
		names.map(async (name) => {
			const path = join(directory, name);
			return { name, path, bytes: (await stat(path)).size };
		}),
	);
}

function pythonRivals({ python, modelName }) {
	const start = (script, job) => (folder) => ({
		command: python,
		args: [
			rival(script),
			JSON.stringify({
				repo: `tests/${modelName}`,
				cache: join(folder, "cache"),
				out: join(folder, "out"),
				...job,
			}),
		],
		env: {
			HF_HOME: join(folder, "home"),
			// The local Hub has no Xet; this also keeps the client from starting its runtime.
			HF_HUB_DISABLE_XET: "1",
			HF_HUB_DISABLE_TELEMETRY: "1",
			GLOO_SOCKET_IFNAME: "lo",
			PYTHONDONTWRITEBYTECODE: "1",
		},
	});
	const convert = (name, dtype) => ({
		name,
		dtype,
		hasSteps: true,
		make: start("convert_from_hf.py", { dtype }),
	});
	return [
		convert("A bf16", "bfloat16"),
		convert("A fp32", "float32"),
		{
			name: "B",
			dtype: "bfloat16",
			hasSteps: true,
			make: start("laid_out_ranks.py", { world: RANKS }),
		},
	];
}

function ours({ cli, flags, threads, modelName }) {
	const start = (name, more) => ({
		name,
		dtype: "bfloat16",
		make: (folder) => ({
			command: process.execPath,
			args: [cli, `tests/${modelName}`, "--out", join(folder, "out"), ...flags, "--quiet", ...more],
			env: { HF_HOME: join(folder, "home") },
		}),
	});
	return [
		start("ours", []),
		...threads.map((count) => start(`ours, threads ${count}`, ["--threads", String(count)])),
	];
}

/** A configuration of curl that fetches every file in ranges; `outputOf` gives the line that says where one goes. */
function curlConfig(files, { flags, cdn, modelName, outputOf }) {
	const lines = [];
	for (const { name, bytes } of files) {
		for (let begin = 0; begin < bytes; begin += CURL_RANGE_BYTES) {
			const end = Math.min(begin + CURL_RANGE_BYTES, bytes);
			lines.push(
				"next",
				...flags,
				`url = "${cdn}/${modelName}/${name}"`,
				`range = ${begin}-${end - 1}`,
				...outputOf(lines.length),
			);
		}
	}
	return lines.slice(1).join("\n");
}

function curlFloors({ network, modelName }, files) {
	const curl = ["curl", "--silent", "--show-error"];
	// Each transfer has flags of its own; a range that was cut begins again.
	const flags = ["fail", "http1.1", "retry = 9", "retry-all-errors", ...network.curlLines];
	const parallel = [
		"--parallel",
		"--parallel-immediate",
		"--parallel-max",
		String(CURL_CONNECTIONS),
	];
	const start = (name, { isKept }) => ({
		name,
		make: (folder) => {
			const out = join(folder, "out");
			mkdirSync(out);
			// Without an output it goes to stdout: curl would cut /dev/null back to begin again, and cannot.
			const outputOf = (index) => (isKept ? [`output = "${join(out, `part-${index}`)}"`] : []);
			const config = join(folder, "curl.conf");
			writeFileSync(config, curlConfig(files, { flags, cdn: network.cdn, modelName, outputOf }));
			const fetch = [...curl, ...parallel, "--config", config].join(" ");
			const line = isKept ? `${fetch} && sync ${out}/*` : `${fetch} > /dev/null`;
			return { command: "bash", args: ["-c", line], env: {} };
		},
	});
	return [start("curl to null", { isKept: false }), start("curl to disk", { isKept: true })];
}

function diskFloors(files) {
	const start = (name, flags) => ({
		name,
		make: (folder) => {
			const out = join(folder, "out");
			mkdirSync(out);
			const lines = files.map(
				(file) => `dd if=${file.path} of=${join(out, file.name)} bs=4M ${flags} status=none`,
			);
			return { command: "bash", args: ["-c", lines.join(" && ")], env: {} };
		},
	});
	return [start("dd", "conv=fsync"), start("dd direct", "oflag=direct conv=fsync")];
}
