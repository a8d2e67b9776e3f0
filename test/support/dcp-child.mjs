// Writes a checkpoint with the built program, one entry after the other, and says so: the parent kills it in between.
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { createEntryWriter } from "../../dist/src/dcp/entry-writer.js";
import { holdShare } from "./hold-share.mjs";

const { options, data, flushEvery } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { held } = await holdShare(options);
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
