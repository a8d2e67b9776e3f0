import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createArena, type Lease } from "../../src/stream/arena.ts";

const never = new AbortController().signal;

/** Where a lease lies in memory. */
function span(lease: Lease): { memory: ArrayBufferLike; start: number; end: number } {
	const { buffer, byteOffset, length } = lease.bytes;
	return { memory: buffer, start: byteOffset, end: byteOffset + length };
}

/** Lets every promise reaction that is due run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("arena", () => {
	test("leases are exact, aligned, disjoint and within the capacity, whatever is taken and given back", async () => {
		const step = fc.record({ bytes: fc.integer({ min: 1, max: 700 }), frees: fc.nat(5) });
		await fc.assert(
			fc.asyncProperty(
				fc.integer({ min: 700, max: 2000 }),
				fc.array(step, { maxLength: 60 }),
				async (capacity, steps) => {
					const arena = createArena(new Uint8Array(capacity));
					const held: Lease[] = [];
					let served = 0;
					let most = 0;
					const take = async (bytes: number): Promise<void> => {
						const lease = await arena.reserve(bytes, never);
						expect(lease.bytes.length).toBe(bytes);
						expect(lease.bytes.byteOffset % 64).toBe(0);
						held.push(lease);
						served++;
					};
					for (const { bytes, frees } of steps) {
						void take(bytes);
						for (let i = 0; i < frees; i++) held.shift()?.release();
						await settle();
						const spans = held.map(span);
						for (const [i, a] of spans.entries()) {
							for (const b of spans.slice(i + 1)) {
								expect(a.memory === b.memory && a.start < b.end && b.start < a.end).toBe(false);
							}
						}
						const used = spans.reduce((sum, { start, end }) => sum + end - start, 0);
						most = Math.max(most, used);
						expect(used).toBeLessThanOrEqual(capacity);
					}
					// Everyone is served once all that was lent comes back.
					while (served < steps.length) {
						expect(held.length).toBeGreaterThan(0);
						held.shift()?.release();
						await settle();
					}
					expect(arena.peakBytes).toBeGreaterThanOrEqual(most);
					expect(arena.peakBytes).toBeLessThanOrEqual(capacity);
					for (const lease of held) lease.release();
					// All of it is one piece again.
					held.length = 0;
					void take(arena.capacityBytes);
					await settle();
					expect(held.length).toBe(1);
				},
			),
			{ numRuns: 100, timeout: 5_000, interruptAfterTimeLimit: 10_000 },
		);
	});

	test("serves requests in order: a small one does not overtake a large one that waits", async () => {
		const arena = createArena(new Uint8Array(256));
		const first = await arena.reserve(128, never);
		const order: string[] = [];
		const pass = async (name: string, bytes: number): Promise<void> => {
			const lease = await arena.reserve(bytes, never);
			order.push(name);
			lease.release();
		};
		const large = pass("large", 256);
		const small = pass("small", 64);
		await settle();
		expect(order).toEqual([]);
		first.release();
		await Promise.all([large, small]);
		expect(order).toEqual(["large", "small"]);
	});

	test("an abort rejects with its reason and lets the next in line through", async () => {
		const arena = createArena(new Uint8Array(256));
		const first = await arena.reserve(128, never);
		const controller = new AbortController();
		const large = arena.reserve(256, controller.signal);
		const small = arena.reserve(64, never);
		const reason = new Error("stop");
		controller.abort(reason);
		await expect(large).rejects.toBe(reason);
		(await small).release();
		first.release();
		await expect(arena.reserve(1, controller.signal)).rejects.toBe(reason);
	});

	test("more than can ever be lent is an error that says so", async () => {
		const arena = createArena(new Uint8Array(600));
		await expect(arena.reserve(601, never)).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });
	});

	test("a lease comes back once", async () => {
		const lease = await createArena(new Uint8Array(100)).reserve(10, never);
		lease.release();
		expect(() => lease.release()).toThrow(/twice/);
	});
});
