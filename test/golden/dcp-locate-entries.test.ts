import { cp, mkdtemp, open, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Entry } from "../../src/core/ports.ts";
import { readCheckpoint } from "../../src/dcp/checkpoint-reader.ts";
import { locateEntryData } from "../../src/dcp/entry-reader.ts";
import { locateEntries } from "../../src/dcp/locate-entries.ts";
import { failure } from "../support/failure.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/dcp");

let root = "";
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "hf-stream-dcp-locate-"))));
afterAll(() => rm(root, { recursive: true }));

async function entriesOf(directory: string): Promise<readonly Entry[]> {
	return (await readCheckpoint(directory)).tensors.flatMap(({ entries }) => entries);
}

/** A copy of torch's checkpoint with one byte of an entry turned over. */
async function damaged(at: (entry: Entry) => number): Promise<[string, Entry]> {
	const directory = await mkdtemp(join(root, "damaged-"));
	await cp(join(FIXTURES, "real_small"), directory, { recursive: true });
	const [entry] = (await entriesOf(directory)).toReversed();
	await using file = await open(join(directory, entry!.file), "r+");
	const byte = Buffer.alloc(1);
	await file.read(byte, 0, 1, at(entry!));
	byte[0] = ~byte[0]!;
	await file.write(byte, 0, 1, at(entry!));
	return [directory, entry!];
}

describe("many entries", () => {
	test.each(["real_small", "real_mp8_fsdp_tp_ep"])(
		"of torch's %s are where one look each finds them",
		async (name) => {
			const directory = join(FIXTURES, name);
			const entries = await entriesOf(directory);
			const located = await locateEntries(directory, entries);
			expect(located.size).toBe(entries.length);
			for (const entry of entries) {
				expect(located.get(entry)).toEqual(await locateEntryData(directory, entry));
			}
		},
	);

	test.each([
		["pickle", ({ offset }: Entry) => offset + 70],
		["directory", ({ offset, length }: Entry) => offset + length - 120],
	])("a damaged %s is what the careful look says of it", async (_, at) => {
		const [directory, entry] = await damaged(at);
		const careful = await locateEntryData(directory, entry).catch((error: Error) => error.message);
		const look = locateEntries(directory, [entry]).then((found) => found.get(entry));
		expect(await look.catch((error: Error) => error.message)).toEqual(careful);
	});

	test("what cannot be located is left out, where that is wanted", async () => {
		const [directory, last] = await damaged(({ offset, length }) => offset + length - 22);
		const entries = await entriesOf(directory);
		const broken = entries.filter(({ fqn, offset }) => fqn === last.fqn && offset === last.offset);
		const told: Entry[] = [];
		const located = await locateEntries(directory, entries, {
			onDamage: (entry) => told.push(entry),
		});
		expect(told).toEqual(broken);
		expect(located.size).toBe(entries.length - broken.length);
		expect((await failure(locateEntries(directory, entries))).code).toBe("CHECKPOINT_CORRUPT");
	});

	test("a file that is too short, or gone, is told of by name", async () => {
		const [directory, entry] = await damaged(({ offset }) => offset);
		await truncate(join(directory, entry.file), entry.offset + 100);
		expect((await failure(locateEntries(directory, [entry]))).message).toContain(entry.file);
		await rm(join(directory, entry.file));
		const gone = await failure(locateEntries(directory, [entry]));
		expect(gone.code).toBe("SOURCE_UNREADABLE");
		expect(gone.message).toContain(entry.file);
	});
});
