import * as fc from "fast-check";
import { expect, test } from "vitest";
import { limitsFor, MIN_MEMORY_BYTES } from "../../src/plan/limits.ts";
import { cutWriteBuffers, layOutWriteBuffers } from "../../src/stream/write-buffers.ts";

test("buffers are disjoint, of whole elements, begin on pages, and keep the budget, whatever it is", () => {
	fc.assert(
		fc.property(fc.integer({ min: 16, max: 40_000_000 }), (budgetBytes) => {
			const layout = layOutWriteBuffers(budgetBytes);
			const memory = new Uint8Array(layout.totalBytes);
			const buffers = cutWriteBuffers(memory, layout);
			expect(buffers.length).toBeGreaterThanOrEqual(2);
			let end = 0;
			for (const { byteOffset, length } of buffers) {
				expect(byteOffset % 4096).toBe(0);
				expect(byteOffset).toBeGreaterThanOrEqual(end);
				expect(length).toBe(layout.bufferBytes);
				expect(length % 8).toBe(0);
				end = byteOffset + length;
			}
			expect(end).toBeLessThanOrEqual(layout.totalBytes);
			expect(layout.totalBytes % 4096).toBe(0);
			expect(buffers.length * layout.bufferBytes).toBeLessThanOrEqual(budgetBytes);
		}),
	);
});

test("under any budget that is accepted buffers are whole pages, with nothing between them", () => {
	const sizes = fc.integer({ min: MIN_MEMORY_BYTES, max: 2 ** 34 });
	fc.assert(
		fc.property(sizes, (memoryBytes) => {
			const { writeBufferBytes } = limitsFor(memoryBytes);
			const { bufferBytes, strideBytes, totalBytes } = layOutWriteBuffers(writeBufferBytes);
			expect(strideBytes).toBe(bufferBytes);
			expect(totalBytes).toBeLessThanOrEqual(writeBufferBytes);
		}),
	);
});

test("too few bytes for an element in each are refused", () => {
	expect(() => layOutWriteBuffers(15)).toThrow(/too few/);
});
