import { param } from "./addressing.ts";

/**
 * Little-endian integers from any byte of the source. A word is joined of two only where it lies across them, so that nothing behind
 * the last byte counts.
 */
export const LOADS: string = `fn load8(place : u32) -> u32 {
	let byte = ${param("sourceBase")} + place;
	return (staged[byte >> 2u] >> ((byte & 3u) * 8u)) & 0xffu;
}

fn load32(place : u32) -> u32 {
	let byte = ${param("sourceBase")} + place;
	let word = byte >> 2u;
	let shift = (byte & 3u) * 8u;
	if (shift == 0u) {
		return staged[word];
	}
	return (staged[word] >> shift) | (staged[word + 1u] << (32u - shift));
}

fn load16(place : u32) -> u32 {
	let byte = ${param("sourceBase")} + place;
	let word = byte >> 2u;
	let shift = (byte & 3u) * 8u;
	if (shift == 24u) {
		return (staged[word] >> 24u) | ((staged[word + 1u] & 0xffu) << 8u);
	}
	return (staged[word] >> shift) & 0xffffu;
}
`;
