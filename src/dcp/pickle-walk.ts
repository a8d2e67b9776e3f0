import { PickleInput } from "./pickle-input.ts";
import { corrupt } from "./corrupt.ts";
import { OP } from "./pickle-opcodes.ts";

/** What walking over the opcodes of a pickle tells. */
export interface PickleWalk {
	/** Dotted names of the globals it looks up; each once. */
	readonly globals: readonly string[];
	/** Whether it looks something up, or calls it, whose name cannot be told without executing it. */
	readonly isOpaque: boolean;
	/** Bytes up to and with its STOP. */
	readonly length: number;
}

/** What follows an opcode: nothing, so many bytes, a text line or two, or a length of so many bytes and as much. */
type Argument =
	| { readonly kind: "none" }
	| { readonly kind: "bytes"; readonly count: number }
	| { readonly kind: "lines"; readonly count: number }
	| { readonly kind: "sized"; readonly lengthBytes: 1 | 4 | 8 };

const NONE: Argument = { kind: "none" };

/** Opcodes that {@link OP} leaves out, as no checkpoint's own pickle has them. */
const DUP = 0x32;
const INST = 0x69;
const OBJ = 0x6f;
const PUT = 0x70;
const GET = 0x67;
const UNICODE = 0x56;

/** @see CPython 3.13 `Lib/pickletools.py` */
const ARGUMENTS: ReadonlyMap<number, Argument> = new Map<number, Argument>([
	...argumentsOf(NONE, "().02NQRabdelost}u", [0x81, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8f]),
	...argumentsOf(NONE, "]1", [0x90, 0x91, 0x92, 0x93, 0x94, 0x97, 0x98]),
	...argumentsOf({ kind: "bytes", count: 1 }, "Khq", [0x80, 0x82]),
	...argumentsOf({ kind: "bytes", count: 2 }, "M", [0x83]),
	...argumentsOf({ kind: "bytes", count: 4 }, "Jjr", [0x84]),
	...argumentsOf({ kind: "bytes", count: 8 }, "G", [0x95]),
	...argumentsOf({ kind: "lines", count: 1 }, "FILPSVgp", []),
	...argumentsOf({ kind: "lines", count: 2 }, "ci", []),
	...argumentsOf({ kind: "sized", lengthBytes: 1 }, "CU", [0x8a, 0x8c]),
	...argumentsOf({ kind: "sized", lengthBytes: 4 }, "BTX", [0x8b]),
	...argumentsOf({ kind: "sized", lengthBytes: 8 }, "", [0x8d, 0x8e, 0x96]),
]);

const EXTENSIONS: ReadonlySet<number> = new Set([0x82, 0x83, 0x84]);
const STRINGS: ReadonlySet<number> = new Set([
	OP.shortBinunicode,
	OP.binunicode,
	OP.binunicode8,
	0x55,
	0x54,
]);

function argumentsOf(
	argument: Argument,
	letters: string,
	codes: readonly number[],
): (readonly [number, Argument])[] {
	const all = [...Array.from(letters, (letter) => letter.charCodeAt(0)), ...codes];
	return all.map((code) => [code, argument]);
}

/**
 * Walks over the opcodes of any pickle and notes what it would look up. Nothing is executed and no values are made; time and memory are
 * linear in its length.
 *
 * @param what - Name for messages.
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` when it is no pickle, or is cut off.
 */
export function walkPickle(bytes: Uint8Array, what: string): PickleWalk {
	const input = new CountingInput(bytes, what);
	const names = new RecentNames();
	const globals = new Set<string>();
	let isOpaque = false;
	for (;;) {
		const opcode = input.u8();
		const argument = ARGUMENTS.get(opcode);
		if (argument === undefined) {
			throw corrupt(`${what} is no pickle: it has opcode 0x${opcode.toString(16)}`);
		}
		const texts = input.read(argument);
		if (opcode === OP.stop) return { globals: [...globals], isOpaque, length: input.position };
		if (opcode === OP.global || opcode === INST) globals.add(texts.join("."));
		if (EXTENSIONS.has(opcode) || opcode === OBJ) isOpaque = true;
		if (opcode === OP.stackGlobal) {
			const name = names.global();
			if (name === undefined) isOpaque = true;
			else globals.add(name);
		}
		names.follow(opcode, texts[0]);
	}
}

/** The last two values that were pushed, where they are texts: what STACK_GLOBAL takes its names from in any honest pickle. */
class RecentNames {
	readonly #memo = new Map<number, string | undefined>();
	#last: string | undefined;
	#beforeLast: string | undefined;

	global(): string | undefined {
		if (this.#last === undefined || this.#beforeLast === undefined) return undefined;
		return `${this.#beforeLast}.${this.#last}`;
	}

	follow(opcode: number, text: string | undefined): void {
		switch (opcode) {
			case OP.proto:
			case OP.frame:
				return;
			case OP.memoize:
				this.#memo.set(this.#memo.size, this.#last);
				return;
			case OP.binput:
			case OP.longBinput:
			case PUT:
				this.#memo.set(Number(text), this.#last);
				return;
			case OP.binget:
			case OP.longBinget:
			case GET:
				this.#push(this.#memo.get(Number(text)));
				return;
			case DUP:
				this.#push(this.#last);
				return;
			default:
				this.#push(STRINGS.has(opcode) || opcode === UNICODE ? text : undefined);
		}
	}

	#push(text: string | undefined): void {
		this.#beforeLast = this.#last;
		this.#last = text;
	}
}

/** Longest text that is kept: a name is shorter. */
const MAX_TEXT_BYTES = 1024;

class CountingInput {
	readonly #bytes: Uint8Array;
	readonly #input: PickleInput;
	position = 0;

	constructor(bytes: Uint8Array, what: string) {
		this.#bytes = bytes;
		this.#input = new PickleInput(bytes, (message) => corrupt(`${what} ${message}`));
	}

	u8(): number {
		this.position++;
		return this.#input.u8();
	}

	/** The argument as texts; numbers of the memo in decimal. */
	read(argument: Argument): readonly string[] {
		switch (argument.kind) {
			case "none":
				return [];
			case "bytes":
				return [this.#number(argument.count)];
			case "lines":
				return Array.from({ length: argument.count }, () => this.#line());
			case "sized":
				return [this.#sized(argument.lengthBytes)];
		}
	}

	#number(count: number): string {
		const bytes = this.#take(count);
		return count <= 4 ? String(bytes.reduceRight((sum, byte) => sum * 256 + byte, 0)) : "";
	}

	#line(): string {
		const end = this.#bytes.indexOf(0x0a, this.position);
		const text = this.#text((end < 0 ? this.#bytes.length + 1 : end) - this.position);
		this.#take(1);
		return text;
	}

	#sized(lengthBytes: 1 | 4 | 8): string {
		const bytes = this.#take(lengthBytes);
		return this.#text(bytes.reduceRight((sum, byte) => sum * 256 + byte, 0));
	}

	#text(length: number): string {
		const bytes = this.#take(length);
		// What is longer is no name, and must not be taken for one that it begins with.
		return length > MAX_TEXT_BYTES ? "\0" : Buffer.from(bytes).toString("utf8");
	}

	#take(count: number): Uint8Array {
		const bytes = this.#input.bytes(count);
		this.position += count;
		return bytes;
	}
}
