// From an empty disk to a finished checkpoint: this program beside the Python routes and the floors of network and disk.
//
//   npm run build && node bench/prepare.mjs [--quick] [--rounds 3] [--models llama3,llama4] [--networks http,tls,far]
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { diskBytes, watchDisk } from "./lib/disk-watch.mjs";
import { startEqualityCheck } from "./lib/equality.mjs";
import { commitFacts } from "./lib/machine.mjs";
import { NETWORKS, startNetwork } from "./lib/networks.mjs";
import { startNginx } from "./lib/nginx.mjs";
import { formatRows, makeSkip, writeResults } from "./lib/results.mjs";
import { runMeasured } from "./lib/run.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import {
	CLI,
	hasFlag,
	memoryFolder,
	readSettings,
	resultName,
	say,
	TARGET,
	totalBytes,
	writeModels,
} from "./lib/settings.mjs";
import { findPython, findTool } from "./lib/tools.mjs";
import { prepareRows } from "./prepare-rows.mjs";
import { prepareVariants } from "./prepare-variants.mjs";

const settings = readSettings();
/** Rounds by network: the slower one is, the less of its time is anybody's program. */
const ROUNDS = { tls: 3, http: 2, far: 1 };
const roundsOf = (network) => settings.rounds ?? (settings.isQuick ? 1 : ROUNDS[network]);
const networkNames = settings.networks ?? Object.keys(NETWORKS);
/** 8 MiB, and of small models as many pieces as of large ones. */
const pieceBytes = settings.isQuick ? 2 ** 20 : 8 * 2 ** 20;
const python = findPython(["torch", "huggingface_hub", "safetensors"]);

async function bytesBelow(directory) {
	let sum = 0;
	for (const entry of await readdir(directory, { withFileTypes: true })) {
		const path = join(directory, entry.name);
		sum += entry.isDirectory() ? await bytesBelow(path) : (await stat(path)).size;
	}
	return sum;
}

/** Runs one variant in an empty folder, and looks at everything around it. */
async function runOnce({ variant, folder, network, nginx }) {
	await rm(folder, { recursive: true, force: true });
	await mkdir(folder, { recursive: true });
	// What others left to be written is not this run's burden.
	await runMeasured("sync", []);
	nginx.resetServed();
	await network.reset();
	const disk = watchDisk(folder);
	const { command, args, env } = variant.make(folder);
	const {
		stdout,
		stderr: _,
		...usage
	} = await runMeasured(command, args, {
		env: { ...network.env, ...env },
		sampleMs: 100,
		timeoutMs: 1_200_000,
	});
	const peakDiskBytes = await disk.stop();
	const served = nginx.served();
	const out = join(folder, "out");
	return {
		...usage,
		servedBytes: served.bodyBytes,
		cdnRequests: served.requests,
		...(await network.counted()),
		writtenBytes: await bytesBelow(out).catch(() => 0),
		extraDiskBytes: peakDiskBytes - (await diskBytes(out)),
		...(variant.hasSteps ? { steps: JSON.parse(stdout) } : {}),
	};
}

/** One run of every variant; the order turns by one place each round, so that none always follows the same one. */
async function runRound(round, { variants, check, ...rest }) {
	const turn = round % variants.length;
	const record = {};
	for (const variant of [...variants.slice(turn), ...variants.slice(0, turn)]) {
		record[variant.name] = await runOnce({ variant, ...rest });
		const { wallSeconds, cpuSeconds } = record[variant.name];
		say(`    ${variant.name}: ${wallSeconds.toFixed(2)} s, CPU ${cpuSeconds.toFixed(2)} s`);
		if (variant.dtype !== undefined) await check?.(variant);
	}
	return record;
}

/**
 * A round whose checkpoints torch compares with the source, each before the next one is made.
 *
 * @throws {Error} when a checkpoint differs: then no time counts
 */
async function runCheckedRound(shared, directory) {
	if (python.path === undefined)
		return { equality: { skipped: python.skip }, record: await runRound(0, shared) };
	const checker = await startEqualityCheck(python.path, directory);
	const compared = [];
	const check = async ({ name, dtype }) => {
		compared.push({ name, ...(await checker.check(name, join(shared.folder, "out"), dtype)) });
	};
	try {
		return { equality: { compared }, record: await runRound(0, { ...shared, check }) };
	} finally {
		await checker.stop();
	}
}

async function measureModel({ modelName, models, folder, network, nginx }) {
	const directory = join(models, modelName);
	const variants = await prepareVariants({
		python: python.path,
		cli: CLI,
		flags: ["--dp-shard", "4", ...TARGET],
		threads: hasFlag("--threads") ? (settings.isQuick ? [1] : [1, 2, 4]) : [],
		modelName,
		directory,
		network,
		hasCurl: findTool("curl").path !== undefined,
	});
	say(`  ${modelName}, ${network.name}`);
	const shared = { variants, folder: join(folder, "run"), network, nginx };
	const { equality, record } = await runCheckedRound(shared, directory);
	const runs = [record];
	while (runs.length < roundsOf(network.name)) runs.push(await runRound(runs.length, shared));
	await rm(shared.folder, { recursive: true, force: true });
	return {
		modelName,
		networkName: network.name,
		measured: { date: new Date().toISOString(), ...commitFacts() },
		neededBytes: await weightBytes(directory),
		equality,
		runs,
	};
}

/** Bytes that must come from the CDN: the safetensors files, of which both models use every tensor. */
async function weightBytes(directory) {
	const names = (await readdir(directory)).filter((name) => name.endsWith(".safetensors"));
	const sizes = await Promise.all(
		names.map(async (name) => (await stat(join(directory, name))).size),
	);
	return sizes.reduce((sum, size) => sum + size, 0);
}

/** What earlier runs measured that this one does not: other networks, other models. */
async function earlierCases() {
	const file = new URL(`results/${resultName("prepare", settings)}.json`, import.meta.url);
	const earlier = JSON.parse(await readFile(file, "utf8").catch(() => "{}"));
	const { cases = [], date, commit, isModified } = earlier;
	const isRepeated = ({ modelName, networkName }) =>
		networkNames.includes(networkName) && modelsOn(networkName).includes(modelName);
	const measured = { date, commit, isModified };
	return cases.filter((one) => !isRepeated(one)).map((one) => ({ measured, ...one }));
}

/** A quick run takes every network and every model, but not every pair of them. */
function modelsOn(networkName) {
	const names = Object.keys(settings.models);
	if (!settings.isQuick) return names;
	return [names[networkNames.indexOf(networkName) % names.length]];
}

async function main() {
	const served = await scratchFolder(await memoryFolder(totalBytes(settings.models)));
	const work = await scratchFolder();
	let nginx;
	try {
		say(`prepare: writing ${Object.keys(settings.models).join(", ")} to ${served.path}`);
		await writeModels(served.path, settings.models);
		nginx = await startNginx({ directory: served.path });
		const repos = Object.keys(settings.models).map((name) => ({
			id: `tests/${name}`,
			directory: join(served.path, name),
			cdnFolder: name,
		}));
		const cases = await earlierCases();
		for (const networkName of networkNames) {
			const network = await startNetwork(networkName, { nginx, repos, pieceBytes });
			try {
				for (const modelName of modelsOn(networkName)) {
					const place = { models: served.path, folder: work.path };
					cases.push(await measureModel({ modelName, ...place, network, nginx }));
				}
			} finally {
				await network.stop();
			}
		}
		await finish(
			cases.flatMap((one) =>
				prepareRows(one, { pythonSkip: python.skip, isQuick: settings.isQuick }),
			),
			{ cases },
		);
	} finally {
		await nginx?.stop();
		await work.remove();
		await served.remove();
	}
}

async function finish(rows, facts) {
	const what =
		"an empty disk to a finished checkpoint, synced: this program, the Python routes, and the floors of network and disk";
	await writeResults(resultName("prepare", settings), what, rows, {
		python: python.path,
		isQuick: settings.isQuick,
		rounds: Object.fromEntries(networkNames.map((name) => [name, roundsOf(name)])),
		networks: NETWORKS,
		pieceBytes,
		...facts,
	});
	console.log(
		formatRows(rows.filter(({ goal, skipped }) => goal !== null || skipped !== undefined)),
	);
}

const nginxFound = findTool("nginx");
if (nginxFound.skip === undefined) await main();
else await finish([makeSkip("prepare: ours / floor", nginxFound.skip, "<= 1.25")], {});
