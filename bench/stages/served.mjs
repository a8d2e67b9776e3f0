// What the stages over the network have in common: one model on nginx, a Hub for each protocol, and who to ask for its bytes.
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { fileURLToPath } from "node:url";
import { startHub } from "../lib/hub.mjs";
import { startNginx } from "../lib/nginx.mjs";
import { compileC } from "../lib/tools.mjs";
import { writeModel } from "../synthetic-model.mjs";

const MiB = 2 ** 20;
/** Of every range that is asked for: what a conversion asks for. */
const RANGE_BYTES = 16 * MiB;
export const CONNECTIONS = 8;
/** Buffers that wait for bytes at once: the next request is there before the last one ends. */
const BUFFERS = 16;
/** For the C program, which is as fast with 128 KiB and with 1 MiB. */
const C_BUFFER_BYTES = 256 * 1024;
/** O_DIRECT has no cache below it: larger writes. */
const C_DIRECT_BUFFER_BYTES = MiB;

/** A Llama of 1 MB: what a conversion costs that converts nothing. */
const TINY_MODEL = {
	config: {
		architectures: ["LlamaForCausalLM"],
		model_type: "llama",
		dtype: "bfloat16",
		hidden_size: 64,
		intermediate_size: 64,
		num_hidden_layers: 0,
		num_attention_heads: 8,
		num_key_value_heads: 8,
		vocab_size: 128,
		rms_norm_eps: 1e-5,
		tie_word_embeddings: false,
	},
	tensors: [
		["model.embed_tokens.weight", [128, 64]],
		["model.norm.weight", [64]],
		["lm_head.weight", [128, 64]],
	],
	fileBytes: MiB,
};

/**
 * One protocol and how to reach the model over it.
 *
 * @typedef {object} Route
 * @property {"HTTP" | "TLS"} name of the protocol
 * @property {string} cdn origin of nginx
 * @property {string} endpoint of the Hub, which is asked over plain HTTP either way: it answers a few small requests
 */

/**
 * @typedef {object} Served
 * @property {string} modelDirectory with its files
 * @property {number} bytes of all ranges: the data sections of the model's files
 * @property {readonly { file: string, start: number, end: number }[]} ranges what a conversion asks for, in its order
 * @property {readonly number[]} crcs of the ranges, by zlib
 * @property {string} jobsFile the ranges for the C program
 * @property {readonly Route[]} routes one per protocol
 * @property {Record<string, string>} environment for our processes
 * @property {import("../lib/nginx.mjs").Nginx} nginx that serves the model
 * @property {() => Promise<void>} stop ends all servers
 */

/** The ranges of the data section of every file. */
async function findRanges(directory) {
	const ranges = [];
	const names = (await readdir(directory)).filter((name) => name.endsWith(".safetensors"));
	for (const file of names.toSorted()) {
		const path = join(directory, file);
		const content = await readFile(path);
		const { size } = await stat(path);
		const data = 8 + Number(content.readBigUInt64LE(0));
		for (let start = data; start < size; start += RANGE_BYTES) {
			const end = Math.min(size, start + RANGE_BYTES);
			ranges.push({ file, start, end, crc: crc32(content.subarray(start, end)) });
		}
	}
	return ranges;
}

/**
 * Writes the model below `folder`, which should be in memory, and serves it.
 *
 * @param {string} folder
 * @param {import("../synthetic-model.mjs").Model} model
 * @returns {Promise<Served>}
 */
export async function serveModel(folder, model) {
	const directory = join(folder, "served");
	const modelDirectory = join(directory, "model");
	await mkdir(directory);
	await writeModel(modelDirectory, model);
	await writeModel(join(directory, "tiny"), TINY_MODEL);
	const found = await findRanges(modelDirectory);
	const jobsFile = join(folder, "jobs");
	const lines = found.map(({ file, start, end }) => `/model/${file} ${start} ${end - start}\n`);
	await writeFile(jobsFile, lines.join(""));
	const nginx = await startNginx({ directory });
	const repos = ["model", "tiny"].map((name) => ({
		id: `tests/${name}`,
		directory: join(directory, name),
		cdnFolder: name,
	}));
	const origins = { HTTP: nginx.httpOrigin, TLS: nginx.httpsOrigin };
	const hubs = [];
	const routes = [];
	for (const [name, cdn] of Object.entries(origins)) {
		const hub = await startHub({ repos, cdn });
		hubs.push(hub);
		routes.push({ name, cdn, endpoint: hub.endpoint });
	}
	return {
		modelDirectory,
		bytes: found.reduce((sum, { start, end }) => sum + end - start, 0),
		ranges: found.map(({ file, start, end }) => ({ file, start, end })),
		crcs: found.map(({ crc }) => crc),
		jobsFile,
		routes,
		environment: { SSL_CERT_FILE: nginx.caFile, HF_HOME: join(folder, "home") },
		nginx,
		stop: async () => {
			for (const hub of hubs) await hub.stop();
			await nginx.stop();
		},
	};
}

/** The C program of the pipeline, or why there is none. */
export function findPipeline() {
	const source = fileURLToPath(new URL("../reference/pipeline.c", import.meta.url));
	return compileC(source, ["-lssl", "-lcrypto"]);
}

/**
 * Arguments of the C program.
 *
 * @param {Served} served
 * @param {Route} route
 * @param {"receive" | "crc" | "write" | "direct"} mode
 * @param {{ out?: string, isSynced?: boolean }} [writing]
 */
export function pipelineArguments(served, route, mode, { out = "-", isSynced = false } = {}) {
	const { hostname, port, protocol } = new URL(route.cdn);
	const ca = protocol === "https:" ? served.nginx.caFile : "-";
	const buffer = mode === "direct" ? C_DIRECT_BUFFER_BYTES : C_BUFFER_BYTES;
	const sync = isSynced ? "sync" : "-";
	return [hostname, port, ca, CONNECTIONS, buffer, mode, sync, out, served.jobsFile].map(String);
}

/**
 * Arguments of curl for all ranges at once.
 *
 * @param {Served} served
 * @param {Route} route
 * @param {(index: number) => string} output
 */
export async function curlArguments(served, route, output, configFile) {
	const entries = served.ranges.map(({ file, start, end }, index) =>
		[
			`url = "${route.cdn}/model/${file}"`,
			`range = "${start}-${end - 1}"`,
			`output = "${output(index)}"`,
			"fail",
			`cacert = "${served.nginx.caFile}"`,
		].join("\n"),
	);
	// Without `next` one range would count for all.
	await writeFile(configFile, entries.join("\nnext\n"));
	const parallel = ["--parallel", "--parallel-immediate", "--parallel-max", String(CONNECTIONS)];
	return ["--no-progress-meter", ...parallel, "--config", configFile];
}

/** What `receive-child.mjs` is told at its start. */
export function receiverSetup() {
	return {
		repo: "tests/model",
		connections: CONNECTIONS,
		buffers: BUFFERS,
		bufferBytes: RANGE_BYTES,
	};
}
