import { type FileHandle, open, readFile } from "node:fs/promises";
import { crc32 } from "../checksum/crc32.ts";
import { writing } from "../files/writing.ts";
import { replaceFile } from "../files/replace-file.ts";

/**
 * The journal of an unfinished checkpoint: which entries are already durable, so that the same command continues.
 *
 * Text, one record per line: `<CRC-32 of the rest, 8 hex digits> <rest>\n`. The rest of line 1 is JSON ({@link JournalHeader});
 * of every other line `<index of the entry> <CRC-32 of its data, 8 hex digits>`. A line is written after the data it speaks of was
 * synced. Reading stops at the first line that does not fit its CRC: what a crash tore off.
 */
export const JOURNAL_NAME = ".hf-stream-dcp.journal";

const FORMAT = "hf-stream-dcp journal 1";

/** First line of a journal. */
export interface JournalHeader {
	/** Identity of the plan; another plan puts other bytes at other places. */
	readonly planId: string;
	/** Number of entries in the plan. */
	readonly entries: number;
	/** Version of the program that began the checkpoint. For people. */
	readonly tool: string;
}

/** A journal as it was read. */
export interface JournalContents {
	readonly header: JournalHeader;
	/** CRC-32 of the data of each finished entry, by index. */
	readonly finished: ReadonlyMap<number, number>;
}

/** An entry whose data is durable. */
export interface FinishedEntry {
	readonly index: number;
	/** Of its data. */
	readonly crc32: number;
}

function formatLine(rest: string): string {
	return `${hex(crc32(rest))} ${rest}\n`;
}

function hex(value: number): string {
	return value.toString(16).padStart(8, "0");
}

/** The rest of a line whose CRC fits. */
function parseLine(line: string): string | undefined {
	const rest = line.slice(9);
	return line === formatLine(rest).trimEnd() ? rest : undefined;
}

function parseHeader(line: string): JournalHeader | undefined {
	const rest = parseLine(line);
	if (rest === undefined) return undefined;
	let value: unknown;
	try {
		value = JSON.parse(rest);
	} catch {
		return undefined;
	}
	if (typeof value !== "object" || value === null) return undefined;
	const { format, planId, entries, tool } = value as { readonly [key: string]: unknown };
	if (format !== FORMAT || typeof planId !== "string" || typeof tool !== "string") return undefined;
	return Number.isSafeInteger(entries) ? { planId, entries: entries as number, tool } : undefined;
}

/** Reads the text of a journal up to its first damaged line; `undefined` when that is the header. */
export function parseJournal(text: string): JournalContents | undefined {
	const lines = text.split("\n");
	// What follows the last newline is not a whole line.
	lines.pop();
	const header = parseHeader(lines[0] ?? "");
	if (header === undefined) return undefined;
	const finished = new Map<number, number>();
	for (const line of lines.slice(1)) {
		const match = /^(\d+) ([0-9a-f]{8})$/.exec(parseLine(line) ?? "");
		const index = Number(match?.[1]);
		if (match === null || index >= header.entries) break;
		finished.set(index, Number.parseInt(match[2] ?? "", 16));
	}
	return { header, finished };
}

/** What lies at `path`: a journal, a file that is none, or nothing. */
export async function readJournal(
	path: string,
): Promise<JournalContents | "unreadable" | "missing"> {
	return writing("read", path, async () => {
		try {
			return parseJournal(await readFile(path, "utf8")) ?? "unreadable";
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code === "ENOENT") return "missing";
			throw error;
		}
	});
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
		for (const [index, crc] of finished) lines.push(formatLine(`${index} ${hex(crc)}`));
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
		const lines = entries.map(({ index, crc32: crc }) => formatLine(`${index} ${hex(crc)}`));
		await writing("write", this.#path, async () => {
			await this.#handle.appendFile(lines.join(""));
			await this.#handle.datasync();
		});
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#handle.close();
	}
}
