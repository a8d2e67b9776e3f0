const FIRST_CAPACITY_BYTES = 1024;

/** A byte buffer that grows by doubling, so that writing n bytes takes time linear in n. Integers are little-endian. */
export class ByteWriter {
	#bytes: Buffer;
	#length = 0;

	constructor(capacityBytes: number = FIRST_CAPACITY_BYTES) {
		this.#bytes = Buffer.allocUnsafe(Math.max(capacityBytes, 16));
	}

	/** Bytes written so far. */
	get length(): number {
		return this.#length;
	}

	u8(value: number): void {
		const at = this.#reserve(1);
		this.#bytes[at] = value;
	}

	u16(value: number): void {
		const at = this.#reserve(2);
		this.#bytes.writeUInt16LE(value, at);
	}

	u32(value: number): void {
		const at = this.#reserve(4);
		this.#bytes.writeUInt32LE(value, at);
	}

	i32(value: number): void {
		const at = this.#reserve(4);
		this.#bytes.writeInt32LE(value, at);
	}

	/** A safe integer, not negative, as eight bytes. */
	u64(value: number): void {
		const at = this.#reserve(8);
		this.#bytes.writeUInt32LE(value % 0x1_0000_0000, at);
		this.#bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
	}

	bytes(value: Uint8Array): void {
		const at = this.#reserve(value.length);
		this.#bytes.set(value, at);
	}

	/** `count` times the byte `value`. */
	fill(value: number, count: number): void {
		const at = this.#reserve(count);
		this.#bytes.fill(value, at, at + count);
	}

	/** The characters of `text`, which are all below U+0100, one byte each. */
	latin1(text: string): void {
		const at = this.#reserve(text.length);
		this.#bytes.write(text, at, text.length, "latin1");
	}

	/** `text` in UTF-8 after its length in bytes as a u32. */
	sizedUtf8(text: string): void {
		const bytes = Buffer.byteLength(text, "utf8");
		this.u32(bytes);
		const at = this.#reserve(bytes);
		this.#bytes.write(text, at, bytes, "utf8");
	}

	/** What was written; shares memory with the writer, which must not be used any more. */
	finish(): Uint8Array {
		return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset, this.#length);
	}

	#reserve(count: number): number {
		const start = this.#length;
		const end = start + count;
		if (end > this.#bytes.length) {
			const grown = Buffer.allocUnsafe(Math.max(end, 2 * this.#bytes.length));
			this.#bytes.copy(grown, 0, 0, start);
			this.#bytes = grown;
		}
		this.#length = end;
		return start;
	}
}
