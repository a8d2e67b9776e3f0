import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import { convert, parseConvertOptions, verifyAgainstCheckpoint } from "../../src/index.ts";
import { findPython } from "../support/python.ts";
import { Resources, temporaryDirectory } from "./conversion.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch", "transformers"]);
const why = "skip" in search ? `: ${search.skip}` : "";

describe.skipIf("skip" in search)(`what torch loaded and saved for another mesh${why}`, () => {
	const resources = new Resources();
	let folder = "";
	let ours = "";
	let oracle: Oracle;
	let tensors = 0;

	beforeAll(async () => {
		folder = resources.use(await temporaryDirectory()).path;
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));
		await oracle.ask({ kind: "models", names: ["qwen3-moe"], directory: join(folder, "models") });
		ours = join(folder, "ours");
		const repo = join(folder, "models", "qwen3-moe");
		const parallelism = { dpShard: 4, tp: 2, ep: 2 };
		await convert(parseConvertOptions({ repo, out: ours, parallelism, threads: 1 }));
	});
	afterAll(() => resources.dispose());

	const resaved = async (name: string, how: object = {}): Promise<string> => {
		const out = join(folder, name);
		const job = { kind: "resave", checkpoint: ours, out, transposed: false, step: 1 } as const;
		({ tensors } = await oracle.ask({ ...job, mesh: [2, 2], ...how }));
		return out;
	};

	it.each([
		["2 × 2 ranks", { mesh: [2, 2] }],
		["3 ranks, unevenly", { mesh: [3, 1] }],
		["2 × 2 ranks, matrices column by column", { mesh: [2, 2], transposed: true }],
	])("holds the same: %s", async (name, how) => {
		const theirs = await resaved(name, how);
		if ("transposed" in how) {
			await using opened = await openCheckpoint({ directory: theirs });
			const orders = [...opened.chunks.values()].map(({ order }) => order.join());
			expect(orders).toContain("1,0");
		}
		for (const [directory, other] of [
			[ours, theirs],
			[theirs, ours],
		] as const) {
			const report = await verifyAgainstCheckpoint({ directory, other, memoryBytes: 2 ** 24 });
			expect(report.problems).toEqual([]);
			expect(report.equalTensors).toBe(tensors);
			expect(report.comparedBytes).toBeGreaterThan(0);
			expect(report.notes).toEqual([`the object "step" is in ${theirs} alone`]);
		}
	});

	it("says which element a trainer changed, however little", async () => {
		const fqn = "layers.1.attention.wo.weight";
		const index = [21, 13];
		const theirs = await resaved("changed", { fqn, index, transposed: true, step: 2 });
		const report = await verifyAgainstCheckpoint({ directory: theirs, other: ours });
		const different = report.tensors.filter(({ outcome }) => outcome !== "equal");
		expect(different).toMatchObject([
			{ fqn, outcome: "different", difference: { elements: 1, first: { index } } },
		]);
		const { found, expected } = different[0]!.difference!.first;
		expect(Number(found.bits)).toBe(Number(expected.bits) + 1);
		expect(report.problems).toHaveLength(1);
		// Both by torch, with an object each.
		const other = await resaved("next to it", { fqn, index: [21, 14], mesh: [3, 1] });
		const both = await verifyAgainstCheckpoint({ directory: other, other: theirs, tensors: "*" });
		const [problem] = both.problems;
		expect(problem?.message).toMatch(
			/^2 elements of .* differ, by at most .*; the first is \[21, 13\]: /,
		);
		expect(both.notes).toEqual(['the object "step" is not pickled to the same bytes']);
	});
});
