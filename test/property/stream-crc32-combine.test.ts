import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32Combine } from "../../src/stream/crc32-combine.ts";
import { addStretch, type Stretch } from "../../src/stream/stretches.ts";

const bytes = fc.uint8Array({ maxLength: 300 });

describe("crc32Combine", () => {
	test("is the CRC of the concatenation", () => {
		fc.assert(
			fc.property(bytes, bytes, (a, b) => {
				const whole = crc32(Buffer.concat([a, b]));
				expect(crc32Combine(crc32(a), crc32(b), b.length)).toBe(whole);
			}),
		);
	});

	test("is associative, for lengths beyond 32 bits too", () => {
		const crc = fc.integer({ min: 0, max: 2 ** 32 - 1 });
		const length = fc.integer({ min: 0, max: 2 ** 45 });
		fc.assert(
			fc.property(crc, crc, crc, length, length, (a, b, c, bBytes, cBytes) => {
				const left = crc32Combine(crc32Combine(a, b, bBytes), c, cBytes);
				const right = crc32Combine(a, crc32Combine(b, c, cBytes), bBytes + cBytes);
				expect(left).toBe(right);
			}),
		);
	});
});

describe("addStretch", () => {
	test("in any order ends in one stretch with the CRC of the whole", () => {
		const cases = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1 });
		fc.assert(
			fc.property(cases, fc.infiniteStream(fc.nat()), (parts, order) => {
				let start = 0;
				const all = parts.map((part) => {
					const stretch = { start, end: start + part.length, crc32: crc32(part) };
					start = stretch.end;
					return { stretch, rank: order.next().value as number };
				});
				const stretches: Stretch[] = [];
				for (const { stretch } of all.toSorted((a, b) => a.rank - b.rank)) {
					addStretch(stretches, stretch);
				}
				expect(stretches).toEqual([{ start: 0, end: start, crc32: crc32(Buffer.concat(parts)) }]);
			}),
		);
	});

	test("the same bytes twice are a bug", () => {
		const stretches: Stretch[] = [];
		addStretch(stretches, { start: 0, end: 10, crc32: 1 });
		expect(() => addStretch(stretches, { start: 5, end: 12, crc32: 1 })).toThrow(/written twice/);
	});
});
