import { describe, expect, test } from "vitest";
import type { CheckpointTensor } from "../../src/core/checkpoint.ts";
import { formatRankRanges } from "../../src/core/rank-ranges.ts";
import { createPlan } from "../../src/plan/create-plan.ts";
import { holderSetsOf } from "../../src/plan/holder-sets.ts";
import { limitsFor } from "../../src/plan/limits.ts";
import { shareFactsOf } from "../../src/plan/share-facts.ts";
import { reportFromDirectory } from "../../src/report/checkpoint-report.ts";
import { packReport, unpackTensors } from "../../src/report/packed.ts";
import { reportFromPlan } from "../../src/report/plan-report.ts";
import { placeOfFile, type ReportData } from "../../src/report/report-data.ts";
import { renderReport } from "../../src/report/render-report.ts";
import {
	gridLayout,
	mapFor,
	plainFormat,
	sourceFor,
	tangledExprs,
} from "../support/plan-fixtures.ts";
import { EMPTY_REPORT, HOSTILE, hostileReport } from "../support/report-samples.ts";

function planReport(): { readonly data: ReportData; readonly plan: ReturnType<typeof createPlan> } {
	const exprs = tangledExprs();
	const source = sourceFor(exprs, 3, ["unused"]);
	const layout = gridLayout([2, 2], 2);
	const dropped = [{ name: "unused", reason: "unused: not needed" }];
	const map = mapFor(exprs, { dropped, tied: [{ name: "embed", reason: "tied" }] });
	const plan = createPlan({
		source,
		map,
		layout,
		format: plainFormat,
		dtype: "keep",
		limits: limitsFor(2 ** 26),
		shares: 2,
	});
	const { sets, setOf } = holderSetsOf(plan, layout);
	const data = reportFromPlan({
		tool: "1.2.3",
		plan,
		holders: { sets: sets.map(formatRankRanges), setOf },
		meshes: [],
		sourceKind: "hub",
		metadataBytes: 99,
		workers: shareFactsOf(plan).map((share) => ({ ...share, files: share.files.length })),
		leftOut: [],
		warnings: ["look out"],
	});
	return { data, plan };
}

describe("a report of a plan", () => {
	const { data, plan } = planReport();

	test("has every entry of the plan, where it lies and who holds it", () => {
		const entries = data.tensors.flatMap((tensor) => tensor.entries);
		expect(entries).toHaveLength(plan.entries.length);
		entries.forEach((entry, index) => {
			const { box, file, offset, length } = plan.entries[index]!;
			expect(entry).toMatchObject({ box, offset, length });
			expect(data.files[entry.file]!.name).toBe(file);
		});
		// Each block of the grid is on two ranks, four apart.
		expect(data.holders[data.tensors[0]!.entries[1]!.holders]).toBe("1,5");
	});

	test("compares what is fetched of each source file with what is needed", () => {
		const fetched = data.sourceFiles.map(({ fetchBytes = 0 }) => fetchBytes);
		expect(fetched.reduce((a, b) => a + b, 0)).toBe(plan.totals.fetchBytes);
		const unused = plan.source.tensors.find(({ name }) => name === "unused")!;
		for (const { path, neededBytes, bytes } of data.sourceFiles) {
			const { headerBytes } = plan.source.files.find((file) => file.path === path)!;
			const spared = path === unused.file ? unused.end - unused.begin : 0;
			expect(neededBytes).toBe(bytes - headerBytes - spared);
		}
	});

	test("has what each worker does, and the notes", () => {
		expect(data.shares.map(({ name }) => name)).toEqual(["worker 0", "worker 1"]);
		const written = data.shares.reduce((sum, { writeBytes }) => sum + writeBytes, 0);
		expect(written).toBe(plan.totals.writeBytes);
		expect(data.dropped).toEqual([{ name: "unused", reason: "unused: not needed" }]);
		expect(data.warnings).toEqual(["look out"]);
		expect(data.unknown.join()).toContain("no time line yet");
	});

	test("is packed without loss, and patterns that are alike once", () => {
		const packed = packReport(data);
		expect(unpackTensors(structuredClone(packed))).toEqual(data.tensors);
		expect(packed.tensors.patterns.length).toBeLessThan(data.tensors.length);
	});
});

describe("a report of a directory without a manifest", () => {
	const tensor: CheckpointTensor = {
		fqn: "a",
		dtype: "float32",
		shape: [4],
		entries: [
			{
				fqn: "a",
				dtype: "float32",
				box: { offset: [0], size: [2] },
				file: "__0_0.distcp",
				offset: 0,
				length: 100,
			},
			{
				fqn: "a",
				dtype: "float32",
				box: { offset: [2], size: [2] },
				file: "__3_1.distcp",
				offset: 8,
				length: 100,
			},
		],
	};

	function report(names: readonly string[], tensors = [tensor]): ReportData {
		return reportFromDirectory(
			{
				directory: "/ckpt",
				metadataBytes: 5,
				files: names.map((name) => ({ name, bytes: 108, isMissing: name === "__3_1.distcp" })),
				problems: ["a file is missing"],
				tensors,
				objects: [{ fqn: "step", file: "__0_0.distcp", offset: 200, length: 10 }],
			},
			"1.2.3",
			"no manifest",
		);
	}

	test("takes the ranks from the names of the files", () => {
		const data = report(["__0_0.distcp", "__3_1.distcp"]);
		expect(data.worldSize).toBe(4);
		expect(data.holders).toEqual(["0", "3"]);
		expect(data.tensors[0]!.entries.map(({ holders }) => data.holders[holders])).toEqual([
			"0",
			"3",
		]);
		expect(data.files[1]).toEqual({
			name: "__3_1.distcp",
			bytes: 108,
			rank: 3,
			share: 1,
			isMissing: true,
		});
		expect(data.totals).toEqual({ dataBytes: 16, fileBytes: 216, metadataBytes: 5, entries: 2 });
		expect(data.objects).toEqual(["step"]);
		expect(data.unknown[0]).toBe("no manifest");
	});

	test("knows no ranks where the names say none", () => {
		const data = report(["weights.bin"], []);
		expect([data.worldSize, data.holders]).toEqual([0, [""]]);
	});

	test.each([
		["__3_1.distcp", { rank: 3, share: 1 }],
		["sub/__3_1.distcp", { rank: 3, share: 1 }],
		["x__3_1.distcp", { rank: undefined, share: undefined }],
		["__3.distcp", { rank: undefined, share: undefined }],
	])("%s", (name, place) => {
		expect(placeOfFile(name)).toEqual(place);
	});
});

describe("the page", () => {
	test("can be ended by no text of the data", () => {
		const page = renderReport(hostileReport());
		expect(page.match(/<script/g)).toHaveLength(4);
		expect(page.match(/<\/script>/g)).toHaveLength(4);
		expect(page).not.toContain("<img");
		const [, json = ""] = /id="data-head">(.*)<\/script>/.exec(page) ?? [];
		expect(JSON.parse(json)).toMatchObject({ origin: { model: HOSTILE } });
	});

	test("names no address of the network", () => {
		const page = renderReport(EMPTY_REPORT);
		expect([...page.matchAll(/\bhttps?:\/\/[^"'` ]+/g)].map(([url]) => url)).toEqual([
			// The name of SVG's elements, which nobody fetches.
			"http://www.w3.org/2000/svg",
		]);
		expect(page).toMatch(
			/default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'/,
		);
	});
});
