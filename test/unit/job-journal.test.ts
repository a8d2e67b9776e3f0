import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EntrySums } from "../../src/core/ports.ts";
import { Journal, parseJournal, readJournal } from "../../src/job/journal.ts";

const HASH = "0123456789abcdef".repeat(4);
const header = { entries: 1000, attempt: 3 };

let directory: string;
let path: string;
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "job-journal-"));
	path = join(directory, "journal");
});
afterEach(() => rm(directory, { recursive: true }));

async function written(): Promise<string> {
	await using journal = await Journal.create(path, {
		header,
		finished: new Map([[7, { crc32: 0x1234 }]]),
	});
	await journal.append([
		{ index: 8, crc32: 0 },
		{ index: 999, crc32: 0xffff_ffff, hash: HASH },
	]);
	await journal.append([{ index: 0, crc32: 5, hash: HASH, ends: [16, 24] }]);
	return readFile(path, "utf8");
}

const all = new Map<number, EntrySums>([
	[7, { crc32: 0x1234 }],
	[8, { crc32: 0 }],
	[999, { crc32: 0xffff_ffff, hash: HASH }],
	[0, { crc32: 5, hash: HASH, ends: [16, 24] }],
]);

test("what was appended is read back", async () => {
	await written();
	expect(await readJournal(path)).toEqual({ header, finished: all });
});

test("a journal cut at any byte yields its whole lines, or nothing without a header", async () => {
	const text = await written();
	const headerEnd = text.indexOf("\n") + 1;
	for (let length = 0; length < text.length; length++) {
		const contents = parseJournal(text.slice(0, length));
		const lines = text.slice(0, length).split("\n").length - 2;
		if (length < headerEnd) expect(contents, `${length} bytes`).toBeUndefined();
		else
			expect([...(contents?.finished ?? [])], `${length} bytes`).toEqual([...all].slice(0, lines));
	}
});

test("a damaged character invalidates its line and all after it", async () => {
	const text = await written();
	const lines = text.split("\n");
	for (let at = 0; at < text.length; at++) {
		const flipped = String.fromCodePoint((text.codePointAt(at) ?? 0) ^ 1);
		const contents = parseJournal(text.slice(0, at) + flipped + text.slice(at + 1));
		const line = text.slice(0, at).split("\n").length - 1;
		const expected = line === 0 ? undefined : [...all].slice(0, line - 1);
		expect(contents && [...contents.finished], `${at} in ${lines[line]}`).toEqual(expected);
	}
});

test("an index outside the plan ends the journal", async () => {
	await using journal = await Journal.create(path, { header, finished: new Map() });
	await journal.append([
		{ index: 3, crc32: 1 },
		{ index: 1000, crc32: 1 },
		{ index: 4, crc32: 1 },
	]);
	expect(await readJournal(path)).toEqual({ header, finished: new Map([[3, { crc32: 1 }]]) });
});

test("no file and a file that is no journal are no journal", async () => {
	expect(await readJournal(path)).toBeUndefined();
	expect(parseJournal("")).toBeUndefined();
	expect(parseJournal("00000000 {}\n")).toBeUndefined();
});
