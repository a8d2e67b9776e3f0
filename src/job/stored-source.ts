import { deflateRawSync, inflateRawSync } from "node:zlib";
import { crc32 } from "../checksum/crc32.ts";
import { type Dtype, itemBytes } from "../core/dtype.ts";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import { at, numel, type Shape } from "../core/shape.ts";
import type { Source, SourceFile, SourceTensor } from "../core/source.ts";
import { hex32 } from "../files/checked-line.ts";

/** What the first worker of a job learned of its source, for all others. */
export interface StoredSource {
	/** Version of the program that learned it. */
	readonly tool: string;
	/** Branch, tag or commit that was asked for; `source.commit` is what it was then. */
	readonly revision: string;
	readonly source: Source;
	/** Bytes of all headers, length fields included. */
	readonly headerBytes: number;
	/** What the user should know of the source, one sentence each. */
	readonly warnings: readonly string[];
}

/** Format and version, CRC-32 of the rest, its length. */
const HEAD = /^hf-stream-dcp source (\d+) ([0-9a-f]{8}) (\d{1,15})\n/;

const FORMAT_VERSION = 1;

/** Longest head that {@link HEAD} matches. */
const MAX_HEAD_BYTES = 64;

/** Names repeat themselves so much that a higher level saves little and costs several times as much. */
const DEFLATE_LEVEL = 2;

/** Tensors in columns: 91,000 of them take 0.6 MB and less than a tenth of a second. Everything that follows from dtype and shape is left out. */
interface Columns extends Omit<StoredSource, "source"> {
	readonly repo: string;
	readonly commit: string;
	/** Path, bytes, header bytes, tensors, and the sha256 where it is known. In the order of the tensors. */
	readonly files: readonly (readonly [string, number, number, number, string?])[];
	readonly names: readonly string[];
	/** Dtype and shape, each pair once. */
	readonly kinds: readonly (readonly [Dtype, Shape])[];
	/** Of each tensor: index of its kind. */
	readonly kindOf: readonly number[];
	/** Where a tensor does not begin at the end of the one before it: its index, and the bytes in between. */
	readonly gaps: readonly (readonly [number, number])[];
	/** Absent when the source has none. */
	readonly config?: unknown;
}

/** As a file: a line of text, then JSON, deflated. */
export function encodeSource(stored: StoredSource): Uint8Array {
	const { source, ...rest } = stored;
	const { repo, commit, config } = source;
	const columns: Columns = {
		...rest,
		repo,
		commit,
		...columnsOf(source),
		...(config === undefined ? {} : { config: maskNumbers(config) }),
	};
	const body = deflateRawSync(JSON.stringify(columns), { level: DEFLATE_LEVEL });
	const sum = hex32(crc32(body));
	const head = `hf-stream-dcp source ${FORMAT_VERSION} ${sum} ${body.length}\n`;
	return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/**
 * Reads what {@link encodeSource} wrote.
 *
 * @param path - Of the file, for messages.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` when a byte of it is not what was written; `PLAN_CHANGED` for the format of another
 * version of this program.
 */
export function decodeSource(bytes: Uint8Array, path: string): StoredSource {
	const text = Buffer.from(bytes.subarray(0, MAX_HEAD_BYTES)).toString("latin1");
	const [head = "", version, sum = "", length] = HEAD.exec(text) ?? [];
	if (version !== undefined && Number(version) !== FORMAT_VERSION) throw otherFormat(path);
	const body = bytes.subarray(head.length);
	if (body.length !== Number(length) || crc32(body) !== Number.parseInt(sum, 16)) {
		throw damaged(path);
	}
	const columns = JSON.parse(inflateRawSync(body).toString("utf8")) as Columns;
	const { tool, revision, headerBytes, warnings } = columns;
	return { tool, revision, headerBytes, warnings, source: sourceOf(columns) };
}

function columnsOf({
	files,
	tensors,
}: Source): Pick<Columns, "files" | "names" | "kinds" | "kindOf" | "gaps"> {
	const kinds = new Map<string, { readonly index: number; readonly kind: [Dtype, Shape] }>();
	const kindOf: number[] = [];
	const gaps: [number, number][] = [];
	const counts = new Map(files.map(({ path }) => [path, 0]));
	const ends = new Map(files.map(({ path, headerBytes }) => [path, headerBytes]));
	for (const [index, { dtype, shape, file, begin, end }] of tensors.entries()) {
		const key = `${dtype} ${shape.join()}`;
		const kind = kinds.get(key) ?? { index: kinds.size, kind: [dtype, shape] };
		kinds.set(key, kind);
		kindOf.push(kind.index);
		counts.set(file, (counts.get(file) ?? 0) + 1);
		const gap = begin - (ends.get(file) ?? 0);
		if (gap !== 0) gaps.push([index, gap]);
		ends.set(file, end);
		invariant(
			end - begin === bytesOf(dtype, shape),
			"a tensor has the bytes of its dtype and shape",
		);
	}
	return {
		files: files.map(({ path, bytes, headerBytes, sha256 }) => {
			const facts = [path, bytes, headerBytes, counts.get(path) ?? 0] as const;
			return sha256 === undefined ? facts : [...facts, sha256];
		}),
		names: tensors.map(({ name }) => name),
		kinds: [...kinds.values()].map(({ kind }) => kind),
		kindOf,
		gaps,
	};
}

function sourceOf(columns: Columns): Source {
	const { repo, commit, names, kindOf } = columns;
	const kinds = columns.kinds.map(([dtype, shape]) => ({
		dtype,
		shape,
		bytes: bytesOf(dtype, shape),
	}));
	const gaps = new Map(columns.gaps);
	const files: SourceFile[] = [];
	const tensors: SourceTensor[] = [];
	for (const [path, bytes, headerBytes, count, sha256] of columns.files) {
		// Members in the order in which reading makes them: who compares the source as JSON finds it the same.
		files.push({ path, bytes, ...(sha256 === undefined ? {} : { sha256 }), headerBytes });
		let end = headerBytes;
		for (let left = count; left > 0; left--) {
			const index = tensors.length;
			const { dtype, shape, bytes: length } = at(kinds, at(kindOf, index));
			const begin = end + (gaps.get(index) ?? 0);
			end = begin + length;
			tensors.push({ name: at(names, index), dtype, shape, file: path, begin, end });
		}
	}
	const config = columns.config === undefined ? undefined : unmaskNumbers(columns.config);
	return { repo, commit, files, tensors, config };
}

function bytesOf(dtype: Dtype, shape: Shape): number {
	return numel(shape) * itemBytes(dtype);
}

/** Marks what stands for something else; a string that begins with it has it twice. */
const MASK = "\u0000";

/** Numbers that `JSON.stringify` makes others of. Some configurations have infinities. */
function maskNumbers(config: unknown): unknown {
	return mapValues(config, (value) => {
		if (Object.is(value, -0)) return `${MASK}-0`;
		if (value === Infinity || value === -Infinity) return `${MASK}${value}`;
		return typeof value === "string" && value.startsWith(MASK) ? `${MASK}${value}` : value;
	});
}

function unmaskNumbers(config: unknown): unknown {
	return mapValues(config, (value) => {
		if (typeof value !== "string" || !value.startsWith(MASK)) return value;
		const rest = value.slice(MASK.length);
		return rest.startsWith(MASK) ? rest : Number(rest);
	});
}

/** A JSON value with every value in it that is no list and no object replaced. */
function mapValues(value: unknown, replace: (value: unknown) => unknown): unknown {
	if (Array.isArray(value)) return value.map((item) => mapValues(item, replace));
	if (typeof value !== "object" || value === null) return replace(value);
	const members = Object.entries(value).map(([key, item]) => [key, mapValues(item, replace)]);
	return Object.fromEntries(members) as unknown;
}

function otherFormat(path: string): HfStreamDcpError {
	return new HfStreamDcpError("PLAN_CHANGED", `${path} was written by another version`, {
		hint: "Finish the conversion with the version that began it, or begin again with --overwrite.",
		facts: { path },
	});
}

function damaged(path: string): HfStreamDcpError {
	return new HfStreamDcpError("CHECKPOINT_CORRUPT", `${path} is not as it was written`, {
		hint: "Check the storage, then begin again with --overwrite.",
		facts: { path },
	});
}
