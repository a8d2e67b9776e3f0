/** Longest module or attribute name that is looked at. */
const MAX_LINE_BYTES = 256;
/** Integers of more bytes do not occur; Python's pickler would write them as LONG1 too. */
const MAX_LONG_BYTES = 16;
const NEWLINE = 0x0a;

/** The arguments of pickle opcodes, read in order. Nothing is allocated before its length is known to be in the input. */
export class PickleInput {
	readonly #bytes: Buffer;
	readonly #fail: (message: string) => Error;
	#position = 0;

	constructor(bytes: Uint8Array, fail: (message: string) => Error) {
		this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		this.#fail = fail;
	}

	u8(): number {
		return this.#bytes.readUInt8(this.#take(1));
	}

	u16(): number {
		return this.#bytes.readUInt16LE(this.#take(2));
	}

	u32(): number {
		return this.#bytes.readUInt32LE(this.#take(4));
	}

	i32(): number {
		return this.#bytes.readInt32LE(this.#take(4));
	}

	f64(): number {
		return this.#bytes.readDoubleBE(this.#take(8));
	}

	/** As a number, which is inexact above the safe integers: larger than any input in any case. */
	u64(): number {
		return Number(this.#bytes.readBigUInt64LE(this.#take(8)));
	}

	/** A two's complement integer of `count` bytes; a bigint only where a number would be inexact. */
	long(count: number): number | bigint {
		if (count > MAX_LONG_BYTES) throw this.#fail(`has an integer of ${count} bytes`);
		let value = 0n;
		for (const byte of this.bytes(count).toReversed()) value = (value << 8n) + BigInt(byte);
		const signed = BigInt.asIntN(8 * count, value);
		return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
	}

	bytes(count: number): Uint8Array {
		const start = this.#take(count);
		return this.#bytes.subarray(start, start + count);
	}

	utf8(count: number): string {
		const start = this.#take(count);
		return this.#bytes.toString("utf8", start, start + count);
	}

	/** Up to the next newline, which is skipped. */
	line(): string {
		const start = this.#position;
		const end = this.#bytes.subarray(start, start + MAX_LINE_BYTES).indexOf(NEWLINE);
		if (end < 0) throw this.#fail("has a name without an end");
		this.#position = start + end + 1;
		return this.#bytes.toString("utf8", start, start + end);
	}

	#take(count: number): number {
		const start = this.#position;
		if (count > this.#bytes.length - start) throw this.#fail("ends in the middle");
		this.#position = start + count;
		return start;
	}
}
