import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { EntrySums, FinishedEntry } from "../core/ports.ts";
import { formatLine, hex32, parseLine } from "../files/checked-line.ts";
import { readTextIfThere } from "../files/read-file.ts";
import { replaceFile } from "../files/replace-file.ts";
import { writing } from "../files/writing.ts";

/**
 * The journal of one holder of a share: which entries are durable.
 *
 * Text, one checked line per record (`files/checked-line.ts`). The first is JSON ({@link JournalHeader}); every other is `<index of
 * the entry in the share> <CRC-32 of its data, 8 hex digits>`, if a hash was asked for ` <64 hex digits>`, and of several stretches ` <where
 * each ends>,…`; written after the data it speaks of was synced. Reading stops at the
 * first line that does not fit its CRC: what a crash tore off.
 */
const FORMAT = "hf-stream-dcp journal 3";

/** First line of a journal. */
export interface JournalHeader {
	/** Number of entries in the share. */
	readonly entries: number;
	/** Number of the attempt whose files hold the entries: the holder's own, or one that it goes on with. */
	readonly attempt: number;
}

/** What is known of the data of each finished entry, by index. */
export type Finished = ReadonlyMap<number, EntrySums>;

/** A journal as it was read. */
export interface JournalContents {
	readonly header: JournalHeader;
	readonly finished: Finished;
}

/**
 * Where the journal of a share's holder is.
 *
 * @param path - Of what is kept of the share.
 * @param number - Of the holder's claim.
 */
export function journalPath(path: string, number: number): string {
	return join(path, `journal.${number}`);
}

function parseHeader(line: string): JournalHeader | undefined {
	const rest = parseLine(line);
	if (rest === undefined) return undefined;
	const { format, entries, attempt } = JSON.parse(rest) as { readonly [key: string]: unknown };
	if (format !== FORMAT || typeof entries !== "number" || typeof attempt !== "number") {
		return undefined;
	}
	return { entries, attempt };
}

/** Reads the text of a journal up to its first damaged line; `undefined` when that is the header. */
export function parseJournal(text: string): JournalContents | undefined {
	const lines = text.split("\n");
	// What follows the last newline is not a whole line.
	lines.pop();
	const header = parseHeader(lines[0] ?? "");
	if (header === undefined) return undefined;
	const finished = new Map<number, EntrySums>();
	for (const line of lines.slice(1)) {
		const entry = parseEntry(parseLine(line) ?? "");
		if (entry === undefined || entry.index >= header.entries) break;
		const { index, ...sums } = entry;
		finished.set(index, sums);
	}
	return { header, finished };
}

const ENTRY_PATTERN = /^(\d+) ([0-9a-f]{8})(?: ([0-9a-f]{64})(?: (\d+(?:,\d+)*))?)?$/;

function parseEntry(rest: string): FinishedEntry | undefined {
	const [matched, index, crc32 = "", hash, ends] = ENTRY_PATTERN.exec(rest) ?? [];
	if (matched === undefined) return undefined;
	return {
		index: Number(index),
		crc32: Number.parseInt(crc32, 16),
		...(hash === undefined ? undefined : { hash }),
		...(ends === undefined ? undefined : { ends: ends.split(",").map(Number) }),
	};
}

function formatEntry(index: number, { crc32, hash, ends }: EntrySums): string {
	let rest = `${index} ${hex32(crc32)}`;
	if (hash !== undefined) rest += ` ${hash}`;
	if (ends !== undefined) rest += ` ${ends.join()}`;
	return formatLine(rest);
}

/**
 * The journal at `path`; `undefined` when there is none that can be read.
 *
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function readJournal(path: string): Promise<JournalContents | undefined> {
	const text = await readTextIfThere(path);
	return text === undefined ? undefined : parseJournal(text);
}

/** A journal that is open for appending. */
export class Journal implements AsyncDisposable {
	readonly #path: string;
	readonly #handle: FileHandle;

	private constructor(path: string, handle: FileHandle) {
		this.#path = path;
		this.#handle = handle;
	}

	/**
	 * Writes a journal with these entries in place of whatever is at `path`, and opens it.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	static async create(path: string, contents: JournalContents): Promise<Journal> {
		const { header, finished } = contents;
		const lines = [formatLine(JSON.stringify({ format: FORMAT, ...header }))];
		for (const [index, sums] of finished) lines.push(formatEntry(index, sums));
		await replaceFile(path, Buffer.from(lines.join("")));
		return new Journal(path, await writing("open", path, () => open(path, "a")));
	}

	/**
	 * Records entries whose data is durable. They are recorded durably when it resolves.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	async append(entries: readonly FinishedEntry[]): Promise<void> {
		if (entries.length === 0) return;
		const lines = entries.map((entry) => formatEntry(entry.index, entry));
		await writing("write", this.#path, async () => {
			await this.#handle.appendFile(lines.join(""));
			await this.#handle.datasync();
		});
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#handle.close();
	}
}
