// Writes a checkpoint with the built program, one entry after the other, and says so: the parent kills it in between.
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { createEntryWriter } from "../../dist/src/dcp/entry-writer.js";
import { openShare } from "../../dist/src/job/held-share.js";
import { joinJob } from "../../dist/src/job/job.js";
import { prepareJob } from "../../dist/src/job/prepare.js";
import { shareTurns } from "../../dist/src/job/share-turns.js";

const { options, data, flushEvery } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { directory, planId, entries, files } = options;
const { job } = await joinJob({
	...options,
	worker: { index: 0, count: 1 },
	command: { model: planId },
	takeover: true,
	leaseMs: 60_000,
	tool: "0.0.0",
});
const shares = [{ entries: entries.length, files }];
const prepared = await prepareJob(job, { planId, shares });
const turn = (await shareTurns(prepared).next()).value;
const held = await openShare(prepared, turn, { directory, entries, files });
const writer = createEntryWriter({
	...options,
	directory: held.directory,
	writeMode: held.writeMode,
	isFinished: (index) => held.resumed.has(index),
	record: (finished) => held.record(finished),
});
for (const [index, base64] of data.entries()) {
	const bytes = Buffer.from(base64, "base64");
	await writer.write(index, 0, bytes.subarray(0, bytes.length >> 1));
	await writer.write(index, bytes.length >> 1, bytes.subarray(bytes.length >> 1));
	await writer.finish(index, crc32(bytes));
	if ((index + 1) % flushEvery === 0) await writer.flush();
	process.stdout.write(`${index}\n`);
}
