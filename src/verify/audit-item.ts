import type { FileHandle } from "node:fs/promises";
import { crc32 } from "../checksum/crc32.ts";
import { isHfStreamDcpError } from "../core/errors.ts";
import { formatShape, shapesEqual } from "../core/shape.ts";
import { quote } from "../dcp/corrupt.ts";
import { type PickleWalk, walkPickle } from "../dcp/pickle-walk.ts";
import { TENSOR_GLOBALS } from "../dcp/python-names.ts";
import { locateTensor } from "../dcp/tensor-reader.ts";
import { type AuditedRecord, auditZip } from "../dcp/zip-audit.ts";
import type { ZipSource } from "../dcp/zip-reader.ts";
import { type Trust, trustIn } from "./pickle-names.ts";
import { describeItem, placeOf, type StoredItem } from "./places.ts";
import type { Problem, ProblemKind } from "./problem.ts";
import { type FileRange, readAhead, readFully } from "./read-ahead.ts";

/** What an item turned out to be that is not, byte for byte, what `torch.save` writes for a contiguous tensor. */
export interface ItemAudit {
	readonly problems: readonly Problem[];
	readonly warnings: readonly string[];
	/** CRC-32s that were compared. */
	readonly crcs: number;
	readonly bytes: number;
}

/** An open data file and what is needed to read it. */
export interface AuditContext {
	readonly handle: FileHandle;
	/** Whether data is read and its CRC-32s compared. */
	readonly withData: boolean;
	readonly buffers: readonly Uint8Array[];
	readonly signal: AbortSignal | undefined;
}

/** `data.pkl` of an object may hold whatever a trainer saves. */
const MAX_PICKLE_BYTES = 256 * 1024 * 1024;

/** Content of the small records, where an entry has them. */
const SMALL_RECORDS: ReadonlyMap<string, RegExp> = new Map([
	[".format_version", /^1$/],
	[".storage_alignment", /^64$/],
	["byteorder", /^little$/],
	["version", /^\d{1,4}\n$/],
	[".data/serialization_id", /^\d{40}$/],
]);

/**
 * Looks at an entry or object as a zip: all that lies in it, the pickle without executing it, and the CRC-32 of every record.
 *
 * @throws {Error} of the system.
 */
export async function auditItem(item: StoredItem, context: AuditContext): Promise<ItemAudit> {
	const audit = new Audit(item, context);
	await audit.run();
	return audit;
}

class Audit implements ItemAudit {
	readonly problems: Problem[] = [];
	readonly warnings: string[] = [];
	crcs = 0;
	bytes = 0;
	readonly #item: StoredItem;
	readonly #context: AuditContext;
	readonly #zip: ZipSource;

	constructor(item: StoredItem, context: AuditContext) {
		this.#item = item;
		this.#context = context;
		const { offset, length } = placeOf(item);
		this.#zip = {
			what: describeItem(item),
			length,
			readAt: (at, count) => this.#read({ start: offset + at, end: offset + at + count }),
		};
	}

	async run(): Promise<void> {
		const { records, faults } = await auditZip(this.#zip);
		for (const { message, range } of faults) this.#add("container", message, range);
		const folder = /^[^/]*\//.exec(records[0]?.name ?? "")?.[0] ?? "";
		const inFolder = (name: string): string =>
			name.startsWith(folder) ? name.slice(folder.length) : name;
		for (const record of records) await this.#checkRecord(record, inFolder(record.name));
		if (faults.length === 0) await this.#checkMeaning();
	}

	async #checkRecord(record: AuditedRecord, name: string): Promise<void> {
		const { dataOffset, size } = record;
		const range = { start: dataOffset, end: dataOffset + size };
		const isData = name.startsWith("data/");
		const small = SMALL_RECORDS.get(name);
		const isPickle = name === "data.pkl";
		if (!isData && small === undefined && !isPickle) {
			this.#add(
				"container",
				`has the record ${quote(record.name)}, which torch does not write`,
				range,
			);
		}
		if (isData) {
			if (this.#context.withData) await this.#checkCrc(record, range);
			return;
		}
		if (size > MAX_PICKLE_BYTES) {
			this.#add("container", `has ${size} bytes in ${quote(record.name)}`, range);
			return;
		}
		const bytes = await this.#zip.readAt(dataOffset, size);
		this.#compareCrc(record, crc32(bytes), range, "container");
		if (small?.test(Buffer.from(bytes).toString("latin1")) === false) {
			this.#add(
				"container",
				`has something else in ${quote(record.name)} than torch writes`,
				range,
			);
		}
		if (isPickle) this.#checkPickle(bytes, range);
	}

	async #checkCrc(record: AuditedRecord, range: FileRange): Promise<void> {
		const { handle, buffers, signal } = this.#context;
		const { offset } = placeOf(this.#item);
		let found = 0;
		const inFile = { start: offset + range.start, end: offset + range.end };
		for await (const { bytes } of readAhead(handle, [inFile], buffers, signal)) {
			found = crc32(bytes, found);
			this.bytes += bytes.length;
		}
		this.#compareCrc(record, found, range, "data");
	}

	#compareCrc(record: AuditedRecord, found: number, range: FileRange, kind: ProblemKind): void {
		this.crcs++;
		if (found === record.crc32) return;
		this.#add(kind, `is damaged: ${quote(record.name)} does not have its CRC-32`, range);
	}

	#checkPickle(bytes: Uint8Array, range: FileRange): void {
		const walk = this.#walk(bytes, range);
		if (walk === undefined) return;
		if (walk.length !== bytes.length) this.#add("container", "has bytes behind its pickle", range);
		if (walk.isOpaque) {
			this.#add("code", "calls something whose name cannot be told without executing it", range);
		}
		const isTensor = this.#item.kind === "entry";
		const trust = (name: string): Trust => {
			if (!isTensor) return trustIn(name);
			return TENSOR_GLOBALS.has(name) ? "harmless" : "dangerous";
		};
		const unknown = walk.globals.filter((name) => trust(name) === "unknown");
		for (const name of walk.globals) {
			if (trust(name) !== "dangerous") continue;
			this.#add("code", `names ${quote(name)}, which loading it would look up or call`, range);
		}
		if (unknown.length > 0) {
			const shown = unknown.slice(0, 4).map(quote).join(", ");
			this.warnings.push(
				`object ${this.#zip.what} names ${shown}${unknown.length > 4 ? ", …" : ""}: torch executes it, load it only if you trust who wrote it`,
			);
		}
	}

	#walk(bytes: Uint8Array, range: FileRange): PickleWalk | undefined {
		try {
			return walkPickle(bytes, "its pickle");
		} catch (error) {
			if (!isHfStreamDcpError(error)) throw error;
			this.#add("container", `cannot be read: ${error.message}`, range);
			return undefined;
		}
	}

	/** Whether it is the chunk that the metadata promises. */
	async #checkMeaning(): Promise<void> {
		if (this.#item.kind === "object") return;
		const { dtype, box } = this.#item.entry;
		try {
			const tensor = await locateTensor(this.#zip);
			if (tensor.dtype === dtype && shapesEqual(tensor.shape, box.size)) return;
			const found = `${tensor.dtype} ${formatShape(tensor.shape)}`;
			const promised = `${dtype} ${formatShape(box.size)}`;
			this.#add("container", `is ${found} in the file, and must be ${promised}`);
		} catch (error) {
			if (!isHfStreamDcpError(error)) throw error;
			// A pickle that names code cannot be read either.
			if (this.problems.length > 0) return;
			this.problems.push(this.#problem("container", error.message));
		}
	}

	async #read(range: FileRange): Promise<Uint8Array> {
		const bytes = Buffer.alloc(range.end - range.start);
		await readFully(this.#context.handle, bytes, bytes.length, range.start);
		this.bytes += bytes.length;
		return bytes;
	}

	#add(kind: ProblemKind, message: string, range?: FileRange): void {
		const { file } = placeOf(this.#item);
		this.problems.push(
			this.#problem(kind, `${this.#zip.what} in ${quote(file)} ${message}`, range),
		);
	}

	/** @param range - From the start of the item; all of it when left out. */
	#problem(kind: ProblemKind, message: string, range?: FileRange): Problem {
		const { fqn, file, offset, length } = placeOf(this.#item);
		const { start, end } = range ?? { start: 0, end: length };
		return { kind, message, fqn, file, range: { start: offset + start, end: offset + end } };
	}
}
