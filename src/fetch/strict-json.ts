import { Buffer, isUtf8 } from "node:buffer";

/**
 * A JSON reader that works on bytes, value by value: whatever it does not keep is never in memory, and it sees what
 * `JSON.parse` hides, above all a key that is there twice. The grammar is RFC 8259 to the letter. Its limits are those of
 * serde_json, which the reference reader of safetensors uses, so that both take and refuse the same texts.
 */
export interface JsonReader {
	readonly bytes: Buffer;
	/** Offset of the next byte. */
	position: number;
	/** Objects and arrays that are open. */
	depth: number;
	/** Members of all objects so far. */
	members: number;
}

/** A text that is not what the reader was asked for. */
export class JsonError extends Error {
	/** Byte offset in the text. */
	readonly position: number;

	constructor(message: string, position: number) {
		super(message);
		this.name = "JsonError";
		this.position = position;
	}
}

/** Objects and arrays that may be open at once: serde_json 1.0 refuses the 128th. Fatal beyond. */
const MAX_DEPTH = 127;

/**
 * Members of all objects of one text. Ten times what the largest known header or index holds; keeps the key sets of a
 * hostile text of 100 MB within a few hundred megabytes. Fatal beyond.
 */
const MAX_MEMBERS = 5_000_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Starts to read `bytes`.
 *
 * @throws {JsonError} when they are not UTF-8.
 */
export function createJsonReader(bytes: Uint8Array): JsonReader {
	if (!isUtf8(bytes)) throw new JsonError("it is not UTF-8", 0);
	const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	return { bytes: buffer, position: 0, depth: 0, members: 0 };
}

/**
 * Reads an object. `onMember` is called behind each colon and must read exactly one value.
 *
 * @throws {JsonError} when there is none, or when it has a key twice.
 */
export function readObject(reader: JsonReader, onMember: (key: string) => void): void {
	enter(reader, OPEN_BRACE, "an object");
	const keys = new Set<string>();
	if (!takeIf(reader, CLOSE_BRACE)) {
		do {
			const start = skipSpace(reader);
			const key = readString(reader);
			if (keys.has(key)) throw new JsonError(`the key ${quote(key)} is there twice`, start);
			keys.add(key);
			reader.members++;
			if (reader.members > MAX_MEMBERS) {
				throw new JsonError(`it has more than ${MAX_MEMBERS} members`, start);
			}
			take(reader, COLON, '":"');
			onMember(key);
		} while (takeIf(reader, COMMA));
		take(reader, CLOSE_BRACE, '"," or "}"');
	}
	reader.depth--;
}

/**
 * Reads an array. `onItem` must read exactly one value.
 *
 * @throws {JsonError} when there is none.
 */
export function readArray(reader: JsonReader, onItem: () => void): void {
	enter(reader, OPEN_BRACKET, "an array");
	if (!takeIf(reader, CLOSE_BRACKET)) {
		do onItem();
		while (takeIf(reader, COMMA));
		take(reader, CLOSE_BRACKET, '"," or "]"');
	}
	reader.depth--;
}

/**
 * Reads a whole number from 0 to 2^53 − 1, written without sign, fraction or exponent.
 *
 * @throws {JsonError} when there is none.
 */
export function readNatural(reader: JsonReader): number {
	const start = skipSpace(reader);
	const text = scanNumber(reader);
	const value = Number(text);
	if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
		const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
		throw new JsonError(`expected a whole number from 0 to 2^53 − 1, found ${shown}`, start);
	}
	return value;
}

/**
 * Reads a string.
 *
 * @throws {JsonError} when there is none, or when it holds half of a surrogate pair.
 */
export function readString(reader: JsonReader): string {
	take(reader, QUOTE, "a string");
	const { bytes } = reader;
	const start = reader.position;
	let position = start;
	let hasEscape = false;
	for (; ; position++) {
		const byte = bytes[position];
		if (byte === QUOTE) break;
		if (byte === undefined) throw new JsonError("a string does not end", start);
		if (byte < 0x20) throw new JsonError("a string holds a control character", position);
		if (byte === BACKSLASH) {
			hasEscape = true;
			position++;
		}
	}
	reader.position = position + 1;
	return hasEscape ? unescape(bytes, start, position) : decode(bytes, start, position);
}

/** Reads `null` when that is next; otherwise reads nothing. */
export function readNullIf(reader: JsonReader): boolean {
	skipSpace(reader);
	return readWordIf(reader, "null");
}

/**
 * Reads any one value and forgets it.
 *
 * @throws {JsonError} when it is no JSON.
 */
export function skipValue(reader: JsonReader): void {
	const start = skipSpace(reader);
	const byte = reader.bytes[start];
	if (byte === OPEN_BRACE) readObject(reader, () => skipValue(reader));
	else if (byte === OPEN_BRACKET) readArray(reader, () => skipValue(reader));
	else if (byte === QUOTE) readString(reader);
	else if (byte === MINUS || isDigit(byte)) {
		if (!Number.isFinite(Number(scanNumber(reader)))) {
			throw new JsonError("a number is too large", start);
		}
	} else if (!["null", "true", "false"].some((word) => readWordIf(reader, word))) {
		throw unexpected(reader, "a value");
	}
}

/**
 * Ends the text.
 *
 * @throws {JsonError} when anything but white space is left.
 */
export function finishJson(reader: JsonReader): void {
	if (skipSpace(reader) < reader.bytes.length) throw unexpected(reader, "the end");
}

/** `text` in quotes and escaped for a message, cut to a readable length. */
export function quote(text: string): string {
	return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function enter(reader: JsonReader, byte: number, what: string): void {
	take(reader, byte, what);
	reader.depth++;
	if (reader.depth > MAX_DEPTH) {
		throw new JsonError(`it is nested deeper than ${MAX_DEPTH}`, reader.position);
	}
}

/** Skips white space and returns the position. */
function skipSpace(reader: JsonReader): number {
	const { bytes } = reader;
	let position = reader.position;
	for (;;) {
		const byte = bytes[position];
		if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
		position++;
	}
	reader.position = position;
	return position;
}

function take(reader: JsonReader, byte: number, what: string): void {
	if (!takeIf(reader, byte)) throw unexpected(reader, what);
}

function takeIf(reader: JsonReader, byte: number): boolean {
	if (reader.bytes[skipSpace(reader)] !== byte) return false;
	reader.position++;
	return true;
}

function unexpected(reader: JsonReader, expected: string): JsonError {
	const { bytes, position } = reader;
	if (position >= bytes.length) {
		return new JsonError(`expected ${expected}, but the text ends`, position);
	}
	const found = quote(decode(bytes, position, Math.min(position + 1, bytes.length)));
	return new JsonError(`expected ${expected}, found ${found}`, position);
}

function readWordIf(reader: JsonReader, word: string): boolean {
	for (let index = 0; index < word.length; index++) {
		if (reader.bytes[reader.position + index] !== word.charCodeAt(index)) return false;
	}
	reader.position += word.length;
	return true;
}

function isDigit(byte: number | undefined): boolean {
	return byte !== undefined && byte >= ZERO && byte <= 0x39;
}

/** Moves past a number and returns its text. */
function scanNumber(reader: JsonReader): string {
	const { bytes } = reader;
	const start = skipSpace(reader);
	if (bytes[reader.position] === MINUS) reader.position++;
	if (bytes[reader.position] === ZERO) {
		reader.position++;
		if (isDigit(bytes[reader.position])) {
			throw new JsonError("a number begins with a zero", start);
		}
	} else {
		scanDigits(reader);
	}
	if (bytes[reader.position] === 0x2e) {
		reader.position++;
		scanDigits(reader);
	}
	if (bytes[reader.position] === 0x65 || bytes[reader.position] === 0x45) {
		reader.position++;
		if (bytes[reader.position] === 0x2b || bytes[reader.position] === MINUS) reader.position++;
		scanDigits(reader);
	}
	return decode(bytes, start, reader.position);
}

/** Moves past one digit or more. */
function scanDigits(reader: JsonReader): void {
	const start = reader.position;
	while (isDigit(reader.bytes[reader.position])) reader.position++;
	if (reader.position === start) throw unexpected(reader, "a digit");
}

/** The string between two quotes. Decoded at once: piece by piece, a hostile text could make millions of fragments of it. */
function unescape(bytes: Buffer, start: number, end: number): string {
	let text: string;
	try {
		text = JSON.parse(decode(bytes, start - 1, end + 1)) as string;
	} catch {
		throw new JsonError("a string holds an escape that JSON does not have", start);
	}
	if (/\p{Surrogate}/u.test(text)) {
		throw new JsonError("a string holds half of a surrogate pair", start);
	}
	return text;
}

function decode(bytes: Buffer, start: number, end: number): string {
	// A copy and not a view of the whole text, which a name would otherwise keep in memory.
	return bytes.toString("utf8", start, end);
}
