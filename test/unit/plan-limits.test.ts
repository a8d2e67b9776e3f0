import { describe, expect, test } from "vitest";
import { limitsFor, MIN_MEMORY_BYTES } from "../../src/plan/limits.ts";

const MiB = 2 ** 20;

describe("limitsFor", () => {
	test.each([16, 64, 128, 512, 4096, 1_000_000])(
		"%i MiB: two largest tiles and the write buffers fit",
		(size) => {
			const limits = limitsFor(size * MiB);
			expect(limits.budgetBytes).toBe(size * MiB);
			expect(limits.memoryBytes).toBeLessThan(size * MiB);
			expect(2 * limits.maxTileBytes + limits.writeBufferBytes).toBeLessThanOrEqual(
				limits.memoryBytes,
			);
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
	});

	test("a budget below the minimum is refused with the minimum", () => {
		expect(() => limitsFor(MIN_MEMORY_BYTES - 1)).toThrow(/too small/);
		expect(() => limitsFor(Number.NaN)).toThrow(/too small/);
	});
});
