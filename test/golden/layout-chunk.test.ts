import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Box } from "../../src/core/box.ts";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { placedChunk, type Placement } from "../../src/layout/chunk.ts";
import { placedBlocks } from "../../src/layout/placed-blocks.ts";

/** Written by torch 2.13.0 itself; see `test/fixtures/dcp/golden_chunks.json`, field `note`. */
interface GoldenCase {
	readonly kind: string;
	readonly shape: readonly number[];
	readonly mesh: readonly number[];
	readonly placements: readonly (readonly [string, ...number[]])[];
	readonly all_contiguous: boolean;
	readonly ranks: readonly {
		readonly coord: readonly number[];
		readonly local_shape: readonly number[];
		readonly global_offset: readonly number[];
		readonly contiguous: boolean;
	}[];
}

const { cases } = JSON.parse(
	readFileSync(new URL("../fixtures/dcp/golden_chunks.json", import.meta.url), "utf8"),
) as { readonly cases: readonly GoldenCase[] };

test("torch's placements give torch's chunks, on every rank of all 380 cases", () => {
	let rows = 0;
	let scattered = 0;
	for (const golden of cases) {
		const placements = golden.placements.map((placement) => parsePlacement(placement));
		for (const rank of golden.ranks) {
			const chunk = placedChunk(golden.shape, golden.mesh, placements, rank.coord);
			expect(
				{
					local_shape: chunk.box.size,
					global_offset: chunk.box.offset,
					contiguous: chunk.isContiguous,
				},
				`${golden.kind} ${JSON.stringify(golden.shape)} over ${JSON.stringify(golden.mesh)}, ${JSON.stringify(golden.placements)} at ${JSON.stringify(rank.coord)}`,
			).toEqual({
				local_shape: rank.local_shape,
				global_offset: rank.global_offset,
				contiguous: rank.contiguous,
			});
			rows++;
			if (!rank.contiguous) scattered++;
		}
	}
	expect(cases.length).toBe(380);
	expect(rows).toBe(3225);
	expect(scattered).toBeGreaterThan(0);
});

test("blocks of a layout file are torch's chunks too, where torch could save them", () => {
	let placed = 0;
	let refused = 0;
	for (const { kind, shape, mesh, placements, ranks } of cases) {
		const what = `${kind} ${JSON.stringify([shape, mesh, placements])}`;
		const tensor = {
			fqn: what,
			shape,
			meshSizes: mesh,
			placements: placements.map((placement) => parsePlacement(placement)),
		};
		// Two empty blocks are the same, wherever they are said to be.
		const key = (offset: readonly number[], size: readonly number[]): string =>
			size.includes(0) ? "empty" : JSON.stringify([offset, size]);
		let blocks: readonly Box[];
		try {
			blocks = placedBlocks(tensor);
		} catch (error) {
			expect(isHfStreamDcpError(error, "LAYOUT_INVALID"), what).toBe(true);
			refused++;
			continue;
		}
		const wanted = ranks.map((rank) => key(rank.global_offset, rank.local_shape));
		const at = ranks.map(({ coord }) => coord.reduce((i, one, axis) => i * mesh[axis]! + one, 0));
		expect(
			at.map((i) => key(blocks[i]!.offset, blocks[i]!.size)),
			what,
		).toEqual(wanted);
		expect(
			ranks.every(({ contiguous }) => contiguous),
			what,
		).toBe(true);
		placed++;
	}
	expect({ placed, refused }).toEqual({ placed: 344, refused: 36 });
});

function parsePlacement([name, dim = 0, splitFactor = 1]: readonly [
	string,
	...number[],
]): Placement {
	switch (name) {
		case "R":
			return { kind: "replicate" };
		case "S":
			return { kind: "shard", dim };
		case "SS":
			return { kind: "strided-shard", dim, splitFactor };
		default:
			throw new Error(`unknown placement ${name}`);
	}
}
