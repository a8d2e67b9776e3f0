/**
 * What Python's buffered reader asks the operating system for: a file that a loader has open. Positions in bytes from the start of the
 * file.
 *
 * @see CPython 3.11 `Modules/_io/bufferedio.c`: a seek to what is buffered keeps it as long as something of it is unread, any other
 * empties it; a read takes what is buffered, and of the rest whole buffers straight from the file or, once, a full buffer.
 */
export interface BufferedFile {
	/** First byte in the buffer. */
	from: number;
	/** Behind the last byte in the buffer. */
	to: number;
	/** The next byte that is read; from `from` to `to`. */
	at: number;
}

/** How a loader's reads become reads of the operating system. */
export interface ReadCounts {
	/** Bytes that the system was asked for and gave. */
	bytes: number;
	/** Calls. */
	calls: number;
}

/** A file just opened. */
export function openBuffered(): BufferedFile {
	return { from: 0, to: 0, at: 0 };
}

function seek(file: BufferedFile, position: number): void {
	const isBuffered = file.at < file.to && position >= file.from && position <= file.to;
	if (!isBuffered) file.from = file.to = position;
	file.at = position;
}

/** The part of `length` bytes that is not buffered; what is buffered is taken. */
function takeBuffered(file: BufferedFile, length: number): number {
	const ahead = file.to - file.at;
	if (length <= ahead) {
		file.at += length;
		return 0;
	}
	file.from = file.at = file.to;
	return length - ahead;
}

function readDirect(file: BufferedFile, length: number, size: number, counts: ReadCounts): void {
	const got = Math.max(0, Math.min(length, size - file.to));
	counts.bytes += got;
	counts.calls++;
	file.from = file.at = file.to += got;
}

function fill(
	file: BufferedFile,
	taken: number,
	size: number,
	buffer: number,
	counts: ReadCounts,
): void {
	const got = Math.max(0, Math.min(buffer, size - file.to));
	counts.bytes += got;
	counts.calls++;
	file.to += got;
	file.at = Math.min(file.to, file.from + taken);
}

/**
 * `seek` and `readinto`: fills the caller's memory with `length` bytes at `position`. With a length of 0, `seek` alone.
 *
 * @param size - Of the file; bytes behind its end are not there.
 * @param buffer - Of the reader, bytes.
 */
export function readInto(
	file: BufferedFile,
	position: number,
	length: number,
	size: number,
	buffer: number,
	counts: ReadCounts,
): void {
	seek(file, position);
	const rest = takeBuffered(file, length);
	if (rest > buffer) readDirect(file, rest, size, counts);
	else if (rest > 0) fill(file, rest, size, buffer, counts);
}

/** `seek` and `read`: as {@link readInto}, but what is left after whole buffers goes through the buffer. */
export function readAll(
	file: BufferedFile,
	position: number,
	length: number,
	size: number,
	buffer: number,
	counts: ReadCounts,
): void {
	seek(file, position);
	const rest = takeBuffered(file, length);
	const whole = rest - (rest % buffer);
	if (whole > 0) readDirect(file, whole, size, counts);
	if (rest > whole) fill(file, rest - whole, size, buffer, counts);
}
