import { describe, expect, test } from "vitest";
import { packReport } from "../../src/report/packed.ts";
import { scrollTopFor, topRowOf, totalHeight } from "../../src/report/page/list-place.ts";
import { coordinatesOf, defaultView, gridOf } from "../../src/report/page/mesh-grid.ts";
import { createModel } from "../../src/report/page/model.ts";
import {
	cutsOf,
	defaultTensorView,
	entryArea,
	frameOf,
	nearestEntry,
	visibleEntries,
} from "../../src/report/page/tensor-grid.ts";
import { endOf, lanesOf, stepsOf } from "../../src/report/page/time-line.ts";
import { percent, ranks } from "../../src/report/page/format.ts";
import type { PackedPattern } from "../../src/report/packed.ts";
import { largeReport, timelinesOfFour } from "../support/report-samples.ts";

describe("the model of the page", () => {
	const data = largeReport(3, 16);
	const holders = [...data.holders, "0-3,8"];
	const shared = { ...data.tensors[0]!, fqn: "shared" };
	const entries = shared.entries.map((entry) => ({ ...entry, holders: 16 }));
	const packed = packReport({
		...data,
		holders,
		tensors: [...data.tensors, { ...shared, entries }],
	});
	const model = createModel(packed.head, packed.tensors, () => packed.offsets);
	const block = 4 * 1024 * 2;

	test("adds up bytes per rank, replicas for each", () => {
		const replicated = new Set([0, 1, 2, 3, 8]);
		expect([...model.rankBytes]).toEqual(
			Array.from({ length: 16 }, (_, rank) => 3 * block + (replicated.has(rank) ? 16 * block : 0)),
		);
	});

	test("says what a rank holds", () => {
		const zero = model.holdingOf(0);
		expect([zero.bytes, zero.entries, zero.tensors]).toEqual([19 * block, 19, 4]);
		expect(zero.bytesOf(3)).toBe(16 * block);
		const five = model.holdingOf(5);
		expect([five.bytes, five.entries, five.tensors]).toEqual([3 * block, 3, 3]);
		expect(five.entriesOf(3)).toBe(0);
	});

	test("unpacks one entry", () => {
		expect(model.entryOf(2, 5)).toEqual(data.tensors[2]!.entries[5]);
		expect(model.rangesOf(16)).toEqual([
			[0, 3],
			[8, 8],
		]);
		expect([3, 4, 7, 8, 9].map((rank) => model.holds(16, rank))).toEqual([
			true,
			false,
			false,
			true,
			false,
		]);
	});
});

describe("the mesh", () => {
	const mesh = {
		name: "mesh",
		axes: [
			{ name: "pp", size: 2 },
			{ name: "fsdp", size: 4 },
			{ name: "tp", size: 3 },
		],
	};

	test("shows every rank exactly once as the hidden dimensions move", () => {
		const view = defaultView(mesh);
		expect([view.across, view.down]).toEqual([1, 2]);
		const seen = [0, 1].flatMap((pp) => {
			const grid = gridOf(mesh, { ...view, held: [pp, 0, 0] });
			return Array.from({ length: grid.rows }, (_, row) =>
				Array.from({ length: grid.columns }, (_unused, column) => {
					const rank = grid.rankAt(row, column);
					expect(grid.cellOf(rank)).toEqual([row, column]);
					expect(coordinatesOf(mesh, rank)).toEqual([pp, column, row]);
					return rank;
				}),
			).flat();
		});
		expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, rank) => rank));
		expect(gridOf(mesh, view).cellOf(12)).toBeUndefined();
	});

	test("breaks one dimension into rows", () => {
		const line = { name: "ranks", axes: [{ name: "rank", size: 20 }] };
		const grid = gridOf(line, defaultView(line));
		expect([grid.rows, grid.columns]).toEqual([2, 16]);
		expect([grid.rankAt(1, 3), grid.rankAt(1, 4)]).toEqual([19, -1]);
	});
});

describe("the picture of a tensor", () => {
	/** 4 × 6 × 2, cut into 2 × 3 × 2. */
	const offsets = [0, 2].flatMap((a) => [0, 2, 4].flatMap((b) => [0, 1].map((c) => [a, b, c])));
	const pattern: PackedPattern = {
		dtype: "float32",
		shape: [4, 6, 2],
		boxes: offsets.flatMap((offset) => [...offset, 2, 2, 1]),
		holders: offsets.map((_, index) => index),
		lengths: offsets.map(() => 16),
	};

	test("shows the axes that are cut most, and the others one block at a time", () => {
		const cuts = cutsOf(pattern);
		expect(cuts).toEqual([
			[0, 2],
			[0, 2, 4],
			[0, 1],
		]);
		const view = defaultTensorView(pattern, cuts);
		expect([view.across, view.down]).toEqual([1, 0]);
		expect(visibleEntries(pattern, view)).toEqual([0, 2, 4, 6, 8, 10]);
		expect(visibleEntries(pattern, { ...view, held: [0, 0, 1] })).toEqual([1, 3, 5, 7, 9, 11]);
	});

	test("is drawn to scale", () => {
		const view = defaultTensorView(pattern, cutsOf(pattern));
		const frame = frameOf(pattern, view, 300);
		expect(frame).toEqual({ width: 300, height: 200, isToScale: true });
		expect(entryArea(pattern, view, 8, frame)).toEqual({ x: 100, y: 100, width: 100, height: 100 });
	});

	test("is walked through by its neighbours", () => {
		const view = defaultTensorView(pattern, cutsOf(pattern));
		const unit = { width: 1, height: 1 };
		const areas = visibleEntries(pattern, view).map((entry) => ({
			entry,
			area: entryArea(pattern, view, entry, unit),
		}));
		const from = entryArea(pattern, view, 2, unit);
		const keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
		expect(keys.map((key) => nearestEntry(areas, from, key))).toEqual([0, 4, -1, 8]);
	});
});

describe("a list of any length", () => {
	test.each([10, 1000, 5_000_000])("%i rows: each can be brought into view", (rows) => {
		const place = { rows, rowHeight: 30, viewHeight: 300, scrollTop: 0 };
		expect(totalHeight(place)).toBeLessThanOrEqual(8_000_000);
		for (const index of [0, 1, Math.floor(rows / 2), rows - 2, rows - 1]) {
			const scrollTop = scrollTopFor(place, index) ?? place.scrollTop;
			const top = topRowOf({ ...place, scrollTop });
			expect(index).toBeGreaterThanOrEqual(top - 0.01);
			expect(index + 1).toBeLessThanOrEqual(top + 10.01);
		}
	});
});

describe("the time line", () => {
	test("spreads bytes over the time in which they came, and loses none", () => {
		const lanes = lanesOf(timelinesOfFour());
		expect(lanes.map(({ timeline }) => timeline.share)).toEqual([0, 3, 1, 2]);
		expect(endOf(lanes)).toBe(10);
		const steps = stepsOf(lanes, 10, 77);
		expect(steps.reduce((sum, { fetched }) => sum + fetched, 0)).toBeCloseTo(8e9, -1);
		expect(steps.reduce((sum, { retries }) => sum + retries, 0)).toBe(3);
		// After the seventh second only the share that was taken over is worked on.
		const late = stepsOf(lanes, 10, 10).slice(7);
		const [own] = lanes.filter(({ timeline }) => timeline.takenOver);
		expect(late.reduce((sum, { fetched }) => sum + fetched, 0)).toBeCloseTo(
			stepsOf([own!], 10, 10)
				.slice(7)
				.reduce((sum, { fetched }) => sum + fetched, 0),
			-1,
		);
	});

	test("clocks that say nothing begin at 0", () => {
		const [first] = timelinesOfFour();
		const [lane] = lanesOf([{ ...first!, begun: "?" }]);
		expect([lane!.start, lane!.end]).toEqual([0, 6]);
	});
});

test("numbers and ranks in words", () => {
	expect([percent(0), percent(0.1234), percent(0.00004)]).toEqual([
		"0\u00A0%",
		"12.3\u00A0%",
		"0.004\u00A0%",
	]);
	expect([
		ranks([]),
		ranks([[3, 3]]),
		ranks([
			[0, 7],
			[9, 9],
		]),
	]).toEqual(["no rank is known", "rank 3", "ranks 0–7, 9"]);
	expect(
		ranks(
			[
				[0, 0],
				[2, 2],
				[4, 4],
			],
			2,
		),
	).toBe("ranks 0, 2, … (1 more ranges)");
});
