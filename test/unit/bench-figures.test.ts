import { describe, expect, it } from "vitest";

interface Row {
	readonly figure: string;
	readonly value: number | null;
	readonly unit: string;
	readonly goal: string | null;
	readonly holds: boolean | null;
	readonly runs: unknown;
}

interface Run {
	readonly wallSeconds: number;
	readonly cpuSeconds: number;
	readonly treePeakPrivateBytes: number;
	readonly servedBytes: number;
	readonly cdnRequests: number;
	readonly extraDiskBytes: number;
	readonly steps?: { readonly build: number };
}

interface Figures {
	readonly prepareRows: (
		measured: {
			readonly modelName: string;
			readonly networkName: string;
			readonly neededBytes: number;
			readonly runs: readonly Readonly<Record<string, Run>>[];
		},
		how: { readonly pythonSkip: string | undefined; readonly isQuick: boolean },
	) => readonly Row[];
	readonly useRows: (measured: object) => readonly Row[];
	readonly mergeRows: (rows: readonly Row[]) => readonly Row[];
	readonly renderChart: (rows: readonly Row[]) => string | undefined;
}

/** The benchmark's scripts are plain JavaScript without declarations. */
async function load(name: string): Promise<Figures> {
	const url = new URL(`../../bench/${name}.mjs`, import.meta.url);
	return (await import(url.href)) as Figures;
}

const { prepareRows } = await load("prepare-rows");
const { useRows } = await load("use-rows");
const { mergeRows } = await load("report-rows");
const { renderChart } = await load("chart");

function run(wallSeconds: number, more: Partial<Run> = {}): Run {
	return {
		wallSeconds,
		cpuSeconds: wallSeconds,
		treePeakPrivateBytes: 1e6,
		servedBytes: 1000,
		cdnRequests: 10,
		extraDiskBytes: 0,
		...more,
	};
}

function round(ours: number, more: Partial<Run> = {}): Readonly<Record<string, Run>> {
	return {
		"A bf16": run(40, { steps: { build: 10 } }),
		B: run(24),
		ours: run(ours, more),
		"curl to null": run(5),
		dd: run(8),
		"dd direct": run(4),
	};
}

function prepare(runs: readonly Readonly<Record<string, Run>>[], networkName = "http") {
	const measured = { modelName: "m", networkName, neededBytes: 1000, runs };
	return prepareRows(measured, { pythonSkip: undefined, isQuick: false });
}

function find(rows: readonly Row[], figure: string): Row | undefined {
	return rows.find((row) => row.figure === figure);
}

describe("figures of prepare", () => {
	it("is the median of the ratios within a round, not the ratio of the medians", () => {
		const rows = prepare([round(8), round(10), round(16)]);
		expect(find(rows, "prepare, m, http: A bf16 / ours")).toMatchObject({
			value: 4,
			goal: ">= 4",
			holds: true,
			runs: [5, 4, 2.5],
		});
	});

	it("takes the slower of network and disk as the floor", () => {
		const rows = prepare([round(10)]);
		expect(find(rows, "prepare, m, http: ours / floor")).toMatchObject({
			value: 1.25,
			holds: true,
		});
		expect(find(rows, "prepare, m, http: ours / floor with dd direct")).toMatchObject({
			value: 2,
			goal: null,
		});
	});

	it("leaves out what building the random model took, beside the real figure", () => {
		const rows = prepare([round(10)]);
		const figure = "prepare, m, http: A bf16 without building the model / ours";
		expect(find(rows, figure)).toMatchObject({ value: 3, goal: null });
	});

	it("shows the worst round's bytes, and binds them only where no connection is cut", () => {
		const rounds = [round(10), round(10, { servedBytes: 1100 })];
		const figure = (network: string) => `prepare, m, ${network}: ours, bytes served / needed`;
		expect(find(prepare(rounds), figure("http"))).toMatchObject({ value: 1.1, holds: false });
		expect(find(prepare(rounds, "far"), figure("far"))).toMatchObject({ value: 1.1, holds: null });
	});

	it("names the rival that could not run", () => {
		const { B: _, ...without } = round(10);
		const row = find(prepare([without]), "prepare, m, http: B / ours");
		expect(row).toMatchObject({ value: null, holds: null, skipped: "was not run" });
	});
});

const LOAD = { world: 2, kind: "fsdp", seconds: [1, 3, 2], coldSeconds: 4, ownedBytes: [100, 100] };

it("judges a load by the rank that reads most", () => {
	const rows = useRows({
		modelName: "m",
		loads: [{ ...LOAD, name: "ours", readBytes: [101, 103] }],
	});
	expect(find(rows, "use, m, fsdp 2: ours, bytes read / owned, worst rank")).toMatchObject({
		value: 1.03,
		holds: false,
	});
	expect(find(rows, "use, m, fsdp 2: ours, wall")).toMatchObject({ value: 2 });
});

describe("the report", () => {
	it("puts the worst case of every goal first and keeps all rows", () => {
		const rows = [...prepare([round(10)]), ...prepare([round(20)], "tls")];
		const merged = mergeRows(rows);
		expect(merged.slice(-rows.length)).toEqual(rows);
		expect(find(merged, "prepare: (B) / ours, worst case")).toMatchObject({
			value: 1.2,
			goal: ">= 2.5",
			holds: false,
			runs: [
				{ figure: "prepare, m, http: B / ours", value: 2.4 },
				{ figure: "prepare, m, tls: B / ours", value: 1.2 },
			],
		});
		expect(find(merged, "prepare: ours / floor, worst case")).toMatchObject({ value: 2.5 });
	});

	it("says nothing of goals that nobody measured", () => {
		expect(mergeRows([])).toEqual([]);
	});
});

describe("the chart", () => {
	it("draws what there is", () => {
		const chart = renderChart([
			...prepareRows(
				{ modelName: "llama3", networkName: "tls", neededBytes: 1000, runs: [round(12.34)] },
				{ pythonSkip: undefined, isQuick: false },
			),
			...useRows({
				modelName: "llama3",
				loads: [{ ...LOAD, name: "ours", readBytes: [100, 100] }],
			}),
		]);
		expect(chart).toContain(">12 s</text>");
		expect(chart).toContain(">2 ranks</text>");
		expect(chart).not.toContain("NaN");
	});

	it("is none without results", () => {
		expect(renderChart([])).toBeUndefined();
	});
});
