import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseConversionOptions, prepareConversion } from "../../src/index.ts";
import { SCOUT, writeSparseModel } from "../support/sparse-model.ts";

const MiB = 2 ** 20;

describe("the plan of Llama 4 Scout, from its headers alone", () => {
	let directory = "";

	beforeAll(async () => {
		directory = join(await mkdtemp(join(tmpdir(), "hf-stream-dcp-")), "scout");
		await writeSparseModel(directory, SCOUT.config, SCOUT.shapes, {
			dtype: "bfloat16",
			fileBytes: 5e9,
		});
	});

	afterAll(async () => {
		await rm(join(directory, ".."), { recursive: true });
	});

	/** Every text tensor, bfloat16. */
	const textBytes = Object.entries(SCOUT.shapes)
		.filter(([name]) => name.startsWith("language_model."))
		.reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b, 2), 0);

	test.each([
		[{ dpShard: 64, tp: 8, ep: 16 }, 512 * MiB, 512],
		[{ dpShard: 8, tp: 8 }, 512 * MiB, 64],
		[{ dpShard: 8 }, 128 * MiB, 8],
	])("%j within %i bytes", async (parallelism, memoryBytes, ranks) => {
		const options = parseConversionOptions({ repo: directory, parallelism, memoryBytes });
		await using preparation = await prepareConversion(options);
		const { totals, tiles, worldSize, limits, dropped, synthesised } = preparation.plan;
		expect(worldSize).toBe(ranks);
		expect(totals.fetchBytes).toBe(textBytes);
		expect(totals.files).toBe(ranks);
		// Prefixes, suffixes and the gaps that put large data on pages, all together.
		expect(totals.writeBytes).toBeLessThan(1.005 * textBytes);
		expect(totals.memoryBytes).toBeLessThanOrEqual(memoryBytes);
		expect(
			tiles.every((tile) => 2 * tile.stagingBytes <= memoryBytes - limits.writeBufferBytes),
		).toBe(true);
		// Whatever the layout: not many more requests than the bytes ask for.
		expect(totals.requests).toBeLessThan(
			(1.25 * textBytes) / Math.min(limits.requestBytes, limits.tileBytes),
		);
		const spread = totals.rankBytes.max - totals.rankBytes.min;
		expect(spread).toBeLessThan(0.003 * totals.rankBytes.max);
		expect(dropped.map((note) => note.name)).toEqual(
			expect.arrayContaining([
				"vision_model.class_embedding",
				"multi_modal_projector.linear_1.weight",
			]),
		);
		expect(synthesised).toHaveLength(48);
	});
});
