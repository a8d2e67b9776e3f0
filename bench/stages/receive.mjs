// Stage: receive ranges, and receive them with their CRC-32. Ours is the fetch layer in a process that has started and is warm.
import { fileURLToPath } from "node:url";
import { interleave } from "../lib/pairs.mjs";
import { makeSkip } from "../lib/results.mjs";
import { runMeasured, startMeter } from "../lib/run.mjs";
import { findTool } from "../lib/tools.mjs";
import { curlArguments, findPipeline, pipelineArguments, receiverSetup } from "./served.mjs";
import { assertEqual, compare, costOf } from "./stage.mjs";

const receiver = fileURLToPath(new URL("./receive-child.mjs", import.meta.url));

/**
 * @param {import("./served.mjs").Served} served
 * @param {{ pairs: number, folder: string }} options
 */
export async function measureReceiving(served, { pairs, folder }) {
	const rows = [];
	for (const route of served.routes) {
		const env = { ...served.environment, HF_ENDPOINT: route.endpoint };
		const meter = startMeter(process.execPath, [receiver, JSON.stringify(receiverSetup())], env);
		const stage = { served, route, meter, pairs, folder };
		try {
			rows.push(...(await comparePlain(stage)), ...(await compareWithCrc(stage)));
		} finally {
			await meter.stop();
		}
	}
	return rows;
}

/** @returns {(mode: string) => () => Promise<import("./stage.mjs").Cost>} */
function ours({ served, meter, route }) {
	return (mode) => async () => {
		const answer = await meter.ask({ mode, ranges: served.ranges });
		if (mode === "crc") assertEqual(`CRCs received over ${route.name}`, answer.crc, served.crcs);
		return costOf(answer);
	};
}

/** @returns {(mode: string) => () => Promise<import("./stage.mjs").Cost>} */
function theirs({ served, route }, program) {
	return (mode) => async () => {
		const usage = await runMeasured(program, pipelineArguments(served, route, mode));
		if (mode === "crc")
			assertEqual("CRCs of the C program", JSON.parse(usage.stdout).crc, served.crcs);
		return costOf(usage);
	};
}

async function comparePlain(stage) {
	const { served, route, pairs, folder } = stage;
	const what = `receive ${route.name}`;
	const variants = { ours: ours(stage)("receive") };
	const program = findPipeline();
	if (program.skip === undefined) variants.C = theirs(stage, program.path)("receive");
	const curl = findTool("curl");
	if (curl.skip === undefined) {
		const args = await curlArguments(served, route, () => "/dev/null", `${folder}/curl-null`);
		variants.curl = async () => costOf(await runMeasured(curl.path, args));
	}
	const runs = await interleave({ variants, pairs });
	const { bytes } = served;
	return [
		...(program.skip === undefined
			? compare({ what, runs, bytes, reference: "C" })
			: [makeSkip(`${what}: ours / C`, program.skip)]),
		...(curl.skip === undefined
			? compare({ what, runs, bytes, reference: "curl" })
			: [makeSkip(`${what}: ours / curl`, curl.skip)]),
	];
}

async function compareWithCrc(stage) {
	const what = `receive and crc ${stage.route.name}`;
	const program = findPipeline();
	if (program.skip !== undefined) return [makeSkip(`${what}: ours / C`, program.skip)];
	const variants = { ours: ours(stage)("crc"), C: theirs(stage, program.path)("crc") };
	const runs = await interleave({ variants, pairs: stage.pairs });
	return compare({ what, runs, bytes: stage.served.bytes, reference: "C" });
}
