import { invariant } from "../core/errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { OP } from "./pickle-opcodes.ts";

const PROTOCOL = 2;
const MAX_SHORT_MEMO_INDEX = 0xff;

/**
 * Writes a pickle of protocol 2, operation by operation. Strings, globals and whatever {@link PickleWriter.shared} is asked
 * to keep are written once and then fetched from the memo, which keeps the pickle small and its strings shared when loaded.
 *
 * @see CPython 3.13 `Lib/pickle.py`: which opcode a value takes.
 */
export class PickleWriter {
	readonly #out = new ByteWriter();
	/** Places in the memo. A map for each kind of key: a key that must first be put together costs more than all else. */
	readonly #strings = new Map<string, number>();
	readonly #globals = new Map<string, Map<string, number>>();
	readonly #shared = new Map<unknown, number>();
	#memoLength = 0;

	constructor() {
		this.op(OP.proto);
		this.#out.u8(PROTOCOL);
	}

	/** One opcode without an argument. */
	op(opcode: number): void {
		this.#out.u8(opcode);
	}

	/** Any integer whose absolute value is safe, in the shortest form Python's pickler would choose. */
	int(value: number): void {
		invariant(Number.isSafeInteger(value), `no integer: ${value}`);
		if (value >= 0 && value <= 0xff) {
			this.op(OP.binint1);
			this.#out.u8(value);
		} else if (value >= 0 && value <= 0xffff) {
			this.op(OP.binint2);
			this.#out.u16(value);
		} else if (value >= -0x8000_0000 && value <= 0x7fff_ffff) {
			this.op(OP.binint);
			this.#out.i32(value);
		} else {
			this.#long(BigInt(value));
		}
	}

	string(text: string): void {
		if (this.#recall(this.#strings.get(text))) return;
		this.op(OP.binunicode);
		this.#out.sizedUtf8(text);
		this.#strings.set(text, this.#memoLength);
		this.memoize();
	}

	/** The attribute `name` of the Python module `module`: a class, a function, a dtype. */
	global(module: string, name: string): void {
		const names = this.#globals.get(module) ?? new Map<string, number>();
		if (this.#recall(names.get(name))) return;
		this.op(OP.global);
		this.#out.latin1(`${module}\n${name}\n`);
		this.#globals.set(module, names.set(name, this.#memoLength));
		this.memoize();
	}

	/** A tuple of integers. Not shared: each occurrence is written out. */
	intTuple(values: readonly number[]): void {
		const opcode = [OP.emptyTuple, OP.tuple1, OP.tuple2, OP.tuple3][values.length];
		if (opcode === undefined) this.op(OP.mark);
		for (const value of values) this.int(value);
		this.op(opcode ?? OP.tuple);
	}

	/**
	 * The value that `write` leaves on the stack: written at the first call with this key, fetched from the memo afterwards.
	 *
	 * @param key - A text, or an object that stands for itself.
	 */
	shared(key: unknown, write: () => void): void {
		if (this.#recall(this.#shared.get(key))) return;
		write();
		this.#shared.set(key, this.#memoLength);
		this.memoize();
	}

	/** Fetches the value of `key` if there is one. */
	recall(key: unknown): boolean {
		return this.#recall(this.#shared.get(key));
	}

	/** Makes `alias` another key for what was shared under `key`. */
	alias(alias: unknown, key: unknown): void {
		const index = this.#shared.get(key);
		if (index !== undefined) this.#shared.set(alias, index);
	}

	#recall(index: number | undefined): boolean {
		if (index === undefined) return false;
		this.#memoOp(index, OP.binget, OP.longBinget);
		return true;
	}

	/** Gives the value on top of the stack the next place in the memo, as Python's pickler does for every container. */
	memoize(): void {
		this.#memoOp(this.#memoLength++, OP.binput, OP.longBinput);
	}

	/** Ends the pickle and returns it. The writer must not be used any more. */
	finish(): Uint8Array {
		this.op(OP.stop);
		return this.#out.finish();
	}

	#memoOp(index: number, short: number, long: number): void {
		if (index <= MAX_SHORT_MEMO_INDEX) {
			this.op(short);
			this.#out.u8(index);
		} else {
			this.op(long);
			this.#out.u32(index);
		}
	}

	/** Two's complement, little-endian, as few bytes as keep the sign. */
	#long(value: bigint): void {
		let bytes = 1;
		while (BigInt.asIntN(8 * bytes, value) !== value) bytes++;
		this.op(OP.long1);
		this.#out.u8(bytes);
		for (let shift = 0; shift < 8 * bytes; shift += 8) {
			this.#out.u8(Number(BigInt.asUintN(8, value >> BigInt(shift))));
		}
	}
}
