/** The part of the standard global that is used here; the compiler's libraries for programs without a browser leave it out. */
declare const WebAssembly: {
	readonly Memory: new (descriptor: { readonly initial: number }) => {
		readonly buffer: ArrayBuffer;
	};
};

/** Size of a page of WebAssembly memory. */
const WASM_PAGE_BYTES = 65_536;

/**
 * Zeroed memory whose first byte lies on a page, which writes past the page cache need. Pages that were never touched cost nothing.
 * Where there is no address space for it the memory is plain: such writes are then refused by the system and done otherwise.
 *
 * @param bytes - At most 4 GiB.
 */
export function allocatePages(bytes: number): Uint8Array {
	try {
		const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(bytes / WASM_PAGE_BYTES) });
		return new Uint8Array(buffer, 0, bytes);
	} catch {
		return new Uint8Array(bytes);
	}
}
