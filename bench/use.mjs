// Loading a prepared checkpoint with `dcp.load` on gloo ranks: wall time, and bytes read for every byte that a rank owns.
//
//   npm run build && node bench/use.mjs [--quick] [--rounds 3] [--models llama3,llama4]
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startEqualityCheck } from "./lib/equality.mjs";
import { formatRows, makeSkip, writeResults } from "./lib/results.mjs";
import { runMeasured, startMeter } from "./lib/run.mjs";
import { scratchFolder } from "./lib/scratch.mjs";
import { CLI, readSettings, resultName, rival, say, TARGET, writeModels } from "./lib/settings.mjs";
import { findPython } from "./lib/tools.mjs";
import { useRows } from "./use-rows.mjs";

const settings = readSettings();
const rounds = settings.rounds ?? (settings.isQuick ? 1 : 3);
const worlds = settings.isQuick ? [2, 4] : [1, 2, 4, 8];
const python = findPython(["torch", "safetensors"]);
const environment = {
	PYTHONDONTWRITEBYTECODE: "1",
	GLOO_SOCKET_IFNAME: "lo",
	OMP_NUM_THREADS: "1",
};

/** The finest mesh: a checkpoint that is cut for it serves every coarser one of its kind. */
const FINEST = Math.max(...worlds);

const RIVAL_RANKS = 4;

/** What is loaded, by name; `kind`: which layout it was made for, if for one. */
function subjects(folder, model) {
	return [
		{ name: "ours", kind: "fsdp", reader: "dcp", path: join(folder, "ours-fsdp") },
		{ name: "ours", kind: "tp", reader: "dcp", path: join(folder, "ours-tp") },
		{ name: "A", reader: "dcp", path: join(folder, "a") },
		{ name: "B", reader: "dcp", path: join(folder, "b") },
		{ name: "HF files", reader: "hf", path: model },
	];
}

/** Makes the checkpoints from the local files, and has torch compare them with the source. */
async function prepareCheckpoints(folder, model) {
	const job = (more) => JSON.stringify({ model, ...more });
	const run = (command, args) =>
		runMeasured(command, args, { env: environment, timeoutMs: 1_200_000 });
	const ours = (kind, flag) => {
		const where = [CLI, model, "--out", join(folder, `ours-${kind}`), "--quiet"];
		return run(process.execPath, [...where, ...TARGET, flag, String(FINEST)]);
	};
	await ours("fsdp", "--dp-shard");
	await ours("tp", "--tp");
	const a = job({ out: join(folder, "a"), dtype: "bfloat16" });
	await run(python.path, [rival("convert_from_hf.py"), a]);
	const b = job({ out: join(folder, "b"), world: RIVAL_RANKS });
	await run(python.path, [rival("laid_out_ranks.py"), b]);
	const checker = await startEqualityCheck(python.path, model);
	const compared = [];
	try {
		for (const name of ["ours-fsdp", "ours-tp", "a", "b"]) {
			compared.push({ name, ...(await checker.check(name, join(folder, name), "bfloat16")) });
		}
	} finally {
		await checker.stop();
	}
	return { compared };
}

/** Every load once per round, in an order that is reversed in every second round. */
async function measureLoads(meter, loads) {
	const results = loads.map((load) => ({ ...load, seconds: [] }));
	for (const result of results) {
		const request = { ...pick(result), count: result.reader === "dcp", isCold: false };
		const { ownedBytes, readBytes } = await meter.ask(request);
		Object.assign(result, { ownedBytes, readBytes });
	}
	for (let round = 0; round < rounds; round++) {
		for (const result of round % 2 === 0 ? results : results.toReversed()) {
			const { seconds } = await meter.ask({ ...pick(result), count: false, isCold: false });
			result.seconds.push(seconds);
		}
	}
	for (const result of results) {
		if (!settings.isQuick) {
			const { seconds } = await meter.ask({ ...pick(result), count: false, isCold: true });
			result.coldSeconds = seconds;
		}
		const { world, kind, name } = result;
		say(
			`    ${name} on ${world} (${kind}): ${result.seconds.map((each) => each.toFixed(2)).join(" ")} s`,
		);
	}
	// Folders of this run mean nothing afterwards.
	return results.map((result) => ({ ...result, path: undefined }));
}

function pick({ reader, path, world, kind }) {
	return { reader, path, world, kind };
}

async function measureModel(work, modelName) {
	const folder = join(work, modelName);
	await mkdir(folder);
	const model = join(work, "models", modelName);
	say(`use: ${modelName}: checkpoints`);
	const equality = await prepareCheckpoints(folder, model);
	// One rank holds everything, whatever the kind of mesh.
	const cutColumns = settings.isQuick ? [FINEST] : worlds.filter((world) => world > 1);
	const meshes = [
		...worlds.map((world) => ({ world, kind: "fsdp" })),
		...cutColumns.map((world) => ({ world, kind: "tp" })),
	];
	const loads = meshes.flatMap((mesh) =>
		subjects(folder, model)
			.filter(({ kind = mesh.kind }) => kind === mesh.kind)
			.map((subject) => ({ ...subject, ...mesh })),
	);
	const meter = startMeter(python.path, [rival("load_ranks.py")], environment);
	try {
		return { modelName, equality, loads: await measureLoads(meter, loads) };
	} finally {
		await meter.stop();
	}
}

async function main() {
	const work = await scratchFolder();
	try {
		// On the disk, like the checkpoints that they are compared with.
		await writeModels(join(work.path, "models"), settings.models);
		const cases = [];
		for (const name of Object.keys(settings.models))
			cases.push(await measureModel(work.path, name));
		await finish(cases.flatMap(useRows), { cases });
	} finally {
		await work.remove();
	}
}

async function finish(rows, facts) {
	const what =
		"dcp.load on gloo ranks, files in the page cache: wall from the first rank's start to the last one's end, bytes read by every rank";
	await writeResults(resultName("use", settings), what, rows, {
		python: python.path,
		isQuick: settings.isQuick,
		rounds,
		...facts,
	});
	console.log(
		formatRows(rows.filter(({ goal, skipped }) => goal !== null || skipped !== undefined)),
	);
}

if (python.skip === undefined) await main();
else await finish([makeSkip("use: bytes read / bytes owned", python.skip, "<= 1.02")], {});
