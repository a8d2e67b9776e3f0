import { describe, expect, test } from "vitest";
import { stagingBytesOf } from "../../src/plan/footprint.ts";
import { limitsFor, budgetForTile, MIN_MEMORY_BYTES } from "../../src/plan/limits.ts";

const MiB = 2 ** 20;

/** The memory that a tile of `bytes` takes, in as many ranges as can be large. */
function worstStaging(bytes: number): number {
	const ranges: { file: number; start: number; end: number }[] = [];
	for (let start = 0; start < bytes; start += MiB) {
		ranges.push({ file: ranges.length, start, end: Math.min(bytes, start + MiB) });
	}
	return Math.ceil(stagingBytesOf(ranges) / 64) * 64;
}

describe("limitsFor", () => {
	test.each([16, 64, 128, 512, 4096, 1_000_000])(
		"%i MiB: two largest tiles and the write buffers fit",
		(size) => {
			const limits = limitsFor(size * MiB);
			expect(limits.budgetBytes).toBe(size * MiB);
			expect(limits.memoryBytes).toBeLessThan(size * MiB);
			const staging = worstStaging(limits.maxTileBytes);
			expect(2 * staging + limits.writeBufferBytes).toBeLessThanOrEqual(limits.memoryBytes);
			expect(limits.tileBytes).toBeLessThanOrEqual(limits.maxTileBytes);
			expect(limits.tileBytes).toBeGreaterThanOrEqual(MiB / 2);
			expect(limits.requestBytes).toBeGreaterThanOrEqual(16 * MiB);
			expect(limits.requestBytes).toBeLessThanOrEqual(64 * MiB);
		},
	);

	test("no more memory is used than kernels can address, and no larger tile than they can index", () => {
		const limits = limitsFor(100_000 * MiB);
		expect(limits.memoryBytes).toBe(4095 * MiB);
		expect(limitsFor(4096 * MiB).memoryBytes).toBe(4000 * MiB);
		expect(limits.maxTileBytes).toBe(1024 * MiB);
		expect(worstStaging(limits.maxTileBytes)).toBeLessThan(2 ** 31);
	});

	test.each([8, 31.7, 400, 1000])("the budget that a tile of %d MiB asks for allows it", (size) => {
		const bytes = Math.ceil(size * MiB);
		expect(limitsFor(Math.ceil(budgetForTile(bytes))).maxTileBytes).toBeGreaterThanOrEqual(bytes);
	});

	test("a budget below the minimum is refused with the minimum", () => {
		expect(() => limitsFor(MIN_MEMORY_BYTES - 1)).toThrow(/too small/);
		expect(() => limitsFor(Number.NaN)).toThrow(/too small/);
	});
});
