import { crc32 } from "../checksum/crc32.ts";

/** A line of text with the CRC-32 of the rest in front of it: `<8 hex digits> <rest>\n`. A torn or mixed-up line does not fit. */
export function formatLine(rest: string): string {
	return `${hex32(crc32(rest))} ${rest}\n`;
}

/** The rest of a line, given without its line break, whose CRC fits; `undefined` for any other. */
export function parseLine(line: string): string | undefined {
	const rest = line.slice(9);
	return `${line}\n` === formatLine(rest) ? rest : undefined;
}

/** 8 hex digits. */
export function hex32(value: number): string {
	return value.toString(16).padStart(8, "0");
}
