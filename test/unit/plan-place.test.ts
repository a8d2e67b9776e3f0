import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { EntryFormat } from "../../src/core/ports.ts";
import { numel } from "../../src/core/shape.ts";
import { torchSaveFormat } from "../../src/dcp/torch-save.ts";
import { placeEntries } from "../../src/plan/place.ts";
import { plainFormat } from "../support/plan-fixtures.ts";
import { source } from "../../src/core/expr.ts";

const MiB = 2 ** 20;

/** Entries of these many bytes, all in one file. */
function place(sizes: readonly number[], format: EntryFormat): ReturnType<typeof placeEntries> {
	const drafts = sizes.map((bytes, tensor) => ({
		tensor,
		expr: source("s", "uint8", [bytes]),
		box: { offset: [0], size: [bytes] },
		rank: 0,
		shard: 0,
	}));
	const tensors = sizes.map((_, i) => ({ fqn: `t${i}`, dtype: "uint8" as const }));
	return placeEntries(drafts, tensors, format);
}

describe.each([plainFormat, torchSaveFormat])("placeEntries, format $name", (format) => {
	test("large data begins on a page, small data on 64 bytes; entries do not overlap, and gaps are smaller than a page", () => {
		const sizes = fc.array(
			fc.oneof(fc.nat(300), fc.nat(3 * MiB), fc.integer({ min: MiB - 2, max: MiB + 2 })),
			{ maxLength: 20 },
		);
		fc.assert(
			fc.property(sizes, (all) => {
				const { entries, files } = place(all, format);
				let end = 0;
				for (const { offset, length, box } of entries) {
					const { prefixBytes, dataBytes } = format.geometry("uint8", box.size);
					expect(dataBytes).toBe(numel(box.size));
					const isLarge = dataBytes >= MiB;
					expect((offset + prefixBytes) % (isLarge ? 4096 : 64)).toBe(0);
					expect(offset - end).toBeGreaterThanOrEqual(0);
					expect(offset - end).toBeLessThan(isLarge ? 4096 : 64);
					end = offset + length;
				}
				expect(files.map(({ bytes }) => bytes)).toEqual(all.length > 0 ? [end] : []);
			}),
		);
	});

	test("the worst case, entries of a megabyte, wastes less than 0.5 %", () => {
		const sizes = Array.from({ length: 50 }, () => MiB);
		const { entries, files } = place(sizes, format);
		const used = entries.reduce((sum, { length }) => sum + length, 0);
		expect(files[0]!.bytes - used).toBeLessThan(0.005 * used);
	});
});
