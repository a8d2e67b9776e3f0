import { createHash, type Hash } from "node:crypto";
import { crc32 } from "../checksum/crc32.ts";
import type { Dtype } from "../core/dtype.ts";
import type { EntryGeometry } from "../core/ports.ts";
import type { Shape } from "../core/shape.ts";
import { encodePrefix, encodeSuffix, torchSaveFormat } from "../dcp/torch-save.ts";
import type { ContentFacts } from "./stored.ts";

/** How much of a checkpoint is looked at: the structure; all bytes against CRCs; against SHA-256s, too. */
export type VerifyLevel = "quick" | "data" | "hashes";

/** An entry to be checked: plain data. */
export interface EntryTask {
	readonly dtype: Dtype;
	/** Shape of the chunk. */
	readonly shape: Shape;
	readonly content: ContentFacts;
	/** Whether this program wrote it, so that the digits of its `serialization_id` are known, too. */
	readonly isOurs: boolean;
}

/** What was found out about an entry. */
export interface EntryVerdict {
	/** Whether everything but the data is what `torch.save` writes for such a tensor, for some CRC-32. */
	readonly isCanonical: boolean;
	/** First byte, from the start of the entry, that is something else; `undefined` when it is canonical. */
	readonly firstDifference: number | undefined;
	/** CRC-32 of the data; of a quick check, the one that the container states. */
	readonly crc32: number;
	/** What the container states. */
	readonly statedCrc32: number;
	/** The hash of the data, where it was asked for. */
	readonly hash: string | undefined;
}

/** Where `.data/serialization_id` has its digits; see {@link encodeSuffix}. */
const ID_DIGITS = 40;
const ID_NAME = "serialization_id";
const ID_FOLDER = "archive/.data/";
const DESCRIPTOR_CRC = 4;

/** Lengths and bytes before the data, for one dtype and shape. */
interface Form extends EntryGeometry {
	readonly prefix: Uint8Array;
}

const forms = new Map<string, Form>();
const MOST_FORMS = 1024;

function formOf(dtype: Dtype, shape: Shape): Form {
	const key = `${dtype} ${shape.join()}`;
	let form = forms.get(key);
	if (form === undefined) {
		if (forms.size >= MOST_FORMS) forms.clear();
		const geometry = torchSaveFormat.geometry(dtype, shape);
		forms.set(key, (form = { ...geometry, prefix: encodePrefix(dtype, shape) }));
	}
	return form;
}

/**
 * Checks an entry as its bytes come in. Everything but the data follows from dtype, shape and the data's CRC-32, and is compared byte for
 * byte; the data against its checksums.
 */
export class EntryCheck {
	readonly #task: EntryTask;
	readonly #form: Form;
	readonly #suffix: Buffer;
	readonly #hash: StretchHash | undefined;
	#crc32 = 0;
	#prefixDifference: number | undefined;

	constructor(task: EntryTask, level: VerifyLevel) {
		this.#task = task;
		this.#form = formOf(task.dtype, task.shape);
		this.#suffix = Buffer.alloc(this.#form.suffixBytes);
		const { hash, ends } = task.content;
		this.#hash = level === "hashes" && hash !== undefined ? new StretchHash(ends) : undefined;
	}

	/**
	 * Takes the next bytes. Of a quick check, the data may be left out.
	 *
	 * @param position - Of `bytes` in the entry.
	 */
	feed(bytes: Uint8Array, position: number): void {
		const { prefix, dataBytes } = this.#form;
		const dataEnd = prefix.length + dataBytes;
		const end = position + bytes.length;
		const part = (from: number, to: number): Uint8Array =>
			bytes.subarray(Math.max(from - position, 0), Math.max(to - position, 0));
		if (position < prefix.length) this.#feedPrefix(part(0, prefix.length), position);
		if (end > prefix.length && position < dataEnd) this.#feedData(part(prefix.length, dataEnd));
		if (end > dataEnd) {
			this.#suffix.set(part(dataEnd, Infinity), Math.max(position - dataEnd, 0));
		}
	}

	#feedPrefix(bytes: Uint8Array, position: number): void {
		const expected = this.#form.prefix.subarray(position, position + bytes.length);
		const difference = findDifference(expected, bytes);
		if (difference !== undefined) this.#prefixDifference ??= position + difference;
	}

	#feedData(bytes: Uint8Array): void {
		this.#crc32 = crc32(bytes, this.#crc32);
		this.#hash?.update(bytes);
	}

	/**
	 * Everything was fed.
	 *
	 * @param withData - Whether the data was.
	 */
	finish(withData: boolean): EntryVerdict {
		const { dataBytes, prefixBytes } = this.#form;
		const suffix = this.#suffix;
		const statedCrc32 = dataBytes === 0 ? 0 : suffix.readUInt32LE(DESCRIPTOR_CRC);
		const found = withData ? this.#crc32 : statedCrc32;
		// First as if the data were good; a container that states another checksum may still be whole.
		let inSuffix = this.#compareSuffix(found);
		if (inSuffix !== undefined && statedCrc32 !== found) {
			inSuffix = this.#compareSuffix(statedCrc32);
		}
		const firstDifference =
			this.#prefixDifference ??
			(inSuffix === undefined ? undefined : prefixBytes + dataBytes + inSuffix);
		return {
			isCanonical: firstDifference === undefined,
			firstDifference,
			crc32: found,
			statedCrc32,
			hash: this.#hash?.digest(),
		};
	}

	#compareSuffix(crc: number): number | undefined {
		const { dtype, shape, isOurs } = this.#task;
		const id = isOurs ? undefined : this.#readId();
		return findDifference(encodeSuffix(dtype, shape, crc, id), this.#suffix);
	}

	/** The digits of the file, which depend on the platform that torch ran on. */
	#readId(): string | undefined {
		const name = this.#suffix.indexOf(ID_NAME, 0, "latin1");
		// The last field of the header before the name is the length of what follows the name.
		const field = name - ID_FOLDER.length - 2;
		if (field < 0) return undefined;
		const extra = this.#suffix.readUInt16LE(field);
		const start = name + ID_NAME.length + extra;
		const digits = this.#suffix.toString("latin1", start, start + ID_DIGITS);
		return /^\d{40}$/.test(digits) ? digits : undefined;
	}
}

/** Whether an entry of such a length can be what `torch.save` writes for a contiguous tensor. */
export function hasCanonicalLength(dtype: Dtype, shape: Shape, length: number): boolean {
	const { prefixBytes, dataBytes, suffixBytes } = torchSaveFormat.geometry(dtype, shape);
	return length === prefixBytes + dataBytes + suffixBytes;
}

/** Where the data of such an entry begins and ends, from the start of the entry. */
export function dataRangeOf(
	dtype: Dtype,
	shape: Shape,
): { readonly start: number; readonly end: number } {
	const { prefixBytes, dataBytes } = torchSaveFormat.geometry(dtype, shape);
	return { start: prefixBytes, end: prefixBytes + dataBytes };
}

/** Index of the first byte in which two byte strings differ, or at which the shorter ends; `undefined` when they are equal. */
function findDifference(expected: Uint8Array, found: Uint8Array): number | undefined {
	if (Buffer.compare(expected, found) === 0) return undefined;
	const length = Math.min(expected.length, found.length);
	for (let index = 0; index < length; index++) {
		if (expected[index] !== found[index]) return index;
	}
	return length;
}

/** SHA-256 of bytes, or of the digests of their stretches. */
class StretchHash {
	readonly #ends: readonly number[] | undefined;
	readonly #outer: Hash | undefined;
	#inner: Hash = createHash("sha256");
	#stretch = 0;
	#done = 0;

	constructor(ends: readonly number[] | undefined) {
		this.#ends = ends;
		this.#outer = ends === undefined ? undefined : createHash("sha256");
	}

	update(bytes: Uint8Array): void {
		let rest = bytes;
		while (rest.length > 0) {
			const end = this.#ends?.[this.#stretch] ?? Infinity;
			const part = rest.subarray(0, end - this.#done);
			this.#inner.update(part);
			this.#done += part.length;
			rest = rest.subarray(part.length);
			if (this.#done === end) this.#endStretch();
		}
	}

	#endStretch(): void {
		this.#outer?.update(this.#inner.digest());
		this.#inner = createHash("sha256");
		this.#stretch++;
	}

	/** 64 hex digits. */
	digest(): string {
		return (this.#outer ?? this.#inner).digest("hex");
	}
}
