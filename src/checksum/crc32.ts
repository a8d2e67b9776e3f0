import { createRequire } from "node:module";
import { crc32 as zlibCrc32 } from "node:zlib";

/** CRC-32 of `data`, continued from the CRC-32 of what precedes it; text counts as UTF-8. */
type Crc32 = (data: Uint8Array | string, previous?: number) => number;

/** `@node-rs/crc32` has a carry-less multiplication per platform, two to four times as fast as Node's zlib; npm may leave it out. */
function loadNative(): Crc32 | undefined {
	try {
		const require = createRequire(import.meta.url);
		return (require("@node-rs/crc32") as { readonly crc32: Crc32 }).crc32;
	} catch {
		// Not installed, or no binary for this platform.
		return undefined;
	}
}

const native = loadNative();

/** Which implementation {@link crc32} is. Both give the same values. */
export const CHECKSUMS: "native" | "zlib" = native === undefined ? "zlib" : "native";

/**
 * CRC-32 as zip files have it (ISO 3309, reflected polynomial 0xedb88320).
 *
 * @param data - Bytes; text counts as its UTF-8.
 * @param previous - CRC-32 of the bytes that precede `data`. @default 0
 */
export const crc32: (data: Uint8Array | string, previous?: number) => number = native ?? zlibCrc32;
