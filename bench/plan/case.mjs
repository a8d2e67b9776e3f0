// Plans one case in a process of its own: what it takes, as JSON on stdout.
//
//   node bench/plan/case.mjs "Llama 3.1 405B, 1024" SHARES METADATA-FILE
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { encodeMetadata } from "../../dist/src/dcp/metadata-writer.js";
import { torchSaveFormat } from "../../dist/src/dcp/torch-save.js";
import { checkpointIndexOf } from "../../dist/src/plan/checkpoint-index.js";
import { createPlan } from "../../dist/src/plan/create-plan.js";
import { limitsFor } from "../../dist/src/plan/limits.js";
import { identityLines } from "../../dist/src/plan/plan-id.js";
import { balanceOf, shareFactsOf } from "../../dist/src/plan/share-facts.js";
import { inputsOf } from "./model.mjs";

const [name, shares, file] = process.argv.slice(2);
const steps = {};
const peakBytes = () => process.resourceUsage().maxRSS * 1024;

function step(what, work) {
	const before = performance.now();
	const cpuBefore = process.cpuUsage();
	const value = work();
	const { user, system } = process.cpuUsage(cpuBefore);
	steps[what] = {
		seconds: (performance.now() - before) / 1000,
		cpuSeconds: (user + system) / 1e6,
		peakBytes: peakBytes(),
	};
	return value;
}

const inputs = step("headers", () => inputsOf(name));
const limits = limitsFor(512 * 2 ** 20);
const plan = step("plan", () =>
	createPlan({ ...inputs, format: torchSaveFormat, limits, shares: Number(shares) }),
);
step("identity", () => {
	const hash = createHash("sha256");
	for (const line of identityLines(plan)) hash.update(line).update("\n");
	return hash.digest("hex");
});
const metadata = step("metadata", () => encodeMetadata(checkpointIndexOf(plan)));
if (file !== undefined) writeFileSync(file, metadata);
const { maxBytes, meanBytes } = balanceOf(shareFactsOf(plan));
globalThis.gc?.();
const { totals, tensors } = plan;
const facts = {
	tensors: tensors.length,
	entries: totals.entries,
	entriesCut: totals.entriesCut + totals.entriesCutForShares,
	files: totals.files,
	tiles: plan.tiles.length,
	requests: totals.requests,
	largestTileBytes: totals.largestTileBytes,
	fetchBytes: totals.fetchBytes,
	metadataBytes: metadata.length,
	unevenness: maxBytes / meanBytes,
	heapBytes: process.memoryUsage().heapUsed,
};
process.stdout.write(JSON.stringify({ steps, facts }));
