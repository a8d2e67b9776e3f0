import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import type { Layout } from "../../src/core/layout.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { resolveParallelism } from "../../src/layout/parallelism.ts";
import { findPython } from "../support/python.ts";
import { Resources } from "./conversion.ts";
import { Oracle } from "./oracle.ts";

const search = findPython(["torch"]);
const why = "skip" in search ? `: ${search.skip}` : "";

/** A parameter whose first cut dimension has `length` elements, and how torchtitan cuts it where there are few experts. */
interface Kind {
	readonly fqn: string;
	readonly shapeOf: (length: number) => readonly number[];
	readonly tp: number;
	readonly fsdp: number;
}

const KINDS: readonly Kind[] = [
	{ fqn: "layers.0.feed_forward.w1.weight", shapeOf: (n) => [n, 2], tp: 0, fsdp: 0 },
	{ fqn: "layers.0.feed_forward.w2.weight", shapeOf: (n) => [n, 3], tp: 1, fsdp: 0 },
	{ fqn: "layers.0.moe.experts.w1_EFD", shapeOf: (n) => [1, n, 2], tp: 1, fsdp: 1 },
	{ fqn: "layers.0.moe.experts.w2_EDF", shapeOf: (n) => [1, n, 3], tp: 2, fsdp: 1 },
];

const LENGTHS = [1, 4, 6, 7, 9, 12, 13];

const CASES = KINDS.flatMap((kind) =>
	LENGTHS.map((length) => ({ kind, shape: kind.shapeOf(length) })),
);

/** The elements of every rank, row by row, of a tensor numbered from 1; `undefined` when the layout is refused. */
function heldBy(
	layout: Layout,
	fqn: string,
	shape: readonly number[],
): readonly (readonly number[])[] | undefined {
	const held = Array.from({ length: layout.worldSize }, (): number[] => []);
	try {
		for (const { box, ranks } of layout.shardsOf(fqn, shape)) {
			let elements = [0];
			for (const [dim, size] of shape.entries()) {
				elements = elements.flatMap((outer) =>
					Array.from({ length: box.size[dim]! }, (_, i) => outer * size + box.offset[dim]! + i),
				);
			}
			for (const rank of ranks) held[rank]!.push(...elements.map((element) => element + 1));
		}
	} catch (error) {
		if (isHfStreamDcpError(error, "LAYOUT_INVALID")) return undefined;
		throw error;
	}
	return held;
}

describe.skipIf("skip" in search)(`what torch can save and load is what is accepted${why}`, () => {
	const resources = new Resources();
	let oracle: Oracle;

	beforeAll(() => {
		oracle = resources.use(new Oracle("python" in search ? search.python : ""));
	});
	afterAll(() => resources.dispose());

	it.each([
		{ fsdp: 3, tp: 2 },
		{ fsdp: 2, tp: 3 },
	])("fsdp $fsdp × tp $tp", async ({ fsdp, tp }) => {
		const layout = createLayout({
			parallelism: resolveParallelism({ dpShard: fsdp, tp }),
			rules: {
				kind: "torchtitan",
				fusedQkv: false,
				expertThreshold: "fsdp",
				expertTensorParallel: false,
			},
			facts: { layers: 1, attentionHeads: 6, keyValueHeads: 6, experts: 1, tiedEmbeddings: false },
		});
		const cases = CASES.map(({ kind, shape }) => ({ shape, tp: kind.tp, fsdp: kind.fsdp }));
		const verdicts = await oracle.ask({ kind: "storable", fsdp, tp, cases });
		const describeCase = (index: number): string =>
			`${CASES[index]!.kind.fqn} ${CASES[index]!.shape.join("×")}`;
		const torchs = verdicts.map(({ fails, local }, index) => [
			describeCase(index),
			fails === null ? local : "refused",
		]);
		const ours = CASES.map(({ kind, shape }, index) => [
			describeCase(index),
			heldBy(layout, kind.fqn, shape) ?? "refused",
		]);
		expect(ours).toEqual(torchs);
		// Both are met: what torch does and what it does not do.
		expect(new Set(verdicts.map(({ fails }) => fails === null))).toEqual(new Set([true, false]));
	});
});
