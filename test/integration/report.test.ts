import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { copyFile, cp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import {
	convert,
	parseConvertOptions,
	parseConversionOptions,
	prepareConversion,
	readManifest,
	type ReportData,
	reportOfCheckpoint,
	reportOfPlan,
} from "../../src/index.ts";
import { createFakeIo } from "../support/cli-io.ts";

const MODEL = createDemoModel();
const REAL = join(import.meta.dirname, "../fixtures/dcp/real_mp8_fsdp_tp_ep");
const OPTIONS = { repo: MODEL.id, parallelism: { dpShard: 4, tp: 2, ep: 4 }, threads: 1 };

let root = "";
let whole = "";
let local = "";
let planned: ReportData;

beforeAll(async () => {
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-reports-"));
	whole = join(root, "whole");
	local = join(root, "local");
	await using hub = await createLocalHub({ repos: [MODEL] });
	const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	const given = { ...OPTIONS, environment };
	await convert(parseConvertOptions({ ...given, out: whole }));
	await convert(parseConvertOptions({ ...given, out: local, localOutput: true, ranks: [0, 1] }));
	await using preparation = await prepareConversion(parseConversionOptions(given));
	planned = reportOfPlan(preparation);
});

afterAll(() => rmSync(root, { recursive: true }));

test("a conversion is what its plan was, and how it went", async () => {
	const report = await reportOfCheckpoint(whole);
	const { tensors, holders, files, meshes, worldSize } = planned;
	expect(report).toMatchObject({ kind: "conversion", tensors, holders, files, meshes, worldSize });
	expect(report.origin).toMatchObject({
		model: MODEL.id,
		directory: whole,
		layout: planned.origin.layout,
	});
	expect(report.dropped).toEqual(planned.dropped);
	const { dataBytes, fileBytes, metadataBytes, fetchBytes, entries } = planned.totals;
	expect(report.totals).toMatchObject({ dataBytes, fileBytes, metadataBytes, fetchBytes, entries });
	expect(report.timelines).toHaveLength(1);
	expect(report.timelines[0]!.points.at(-1)![1]).toBe(fetchBytes);
	expect(report.problems).toEqual([]);
	expect(meshes.map(({ name }) => name)).toEqual(["mesh", "experts"]);
});

test("files of ranks that have a disk of their own are not missed", async () => {
	const report = await reportOfCheckpoint(local);
	expect(report.problems).toEqual([]);
	expect(report.warnings.join()).toContain("ranks 0-1 alone");
	expect(report.totals.fileBytes).toBeLessThan(planned.totals.fileBytes / 2);
	rmSync(join(local, "__1_0.distcp"));
	const broken = await reportOfCheckpoint(local);
	expect(broken.problems).toEqual(['"__1_0.distcp" is missing']);
	expect(broken.files.find(({ isMissing }) => isMissing)?.name).toBe("__1_0.distcp");
});

test("a checkpoint of torch's says what .metadata says, and that there is no more", async () => {
	const report = await reportOfCheckpoint(REAL);
	expect(report).toMatchObject({
		kind: "checkpoint",
		worldSize: 8,
		holdersKnownBy: "files",
		timelines: [],
	});
	expect(report.unknown[0]).toContain("no hf-stream-dcp.json");
});

test("a manifest of another checkpoint is left out, and said to be there", async () => {
	const directory = join(root, "stale");
	await cp(REAL, directory, { recursive: true });
	await copyFile(join(whole, "hf-stream-dcp.json"), join(directory, "hf-stream-dcp.json"));
	expect(await readManifest(directory)).toBeDefined();
	const report = await reportOfCheckpoint(directory);
	expect(report.kind).toBe("checkpoint");
	expect(report.problems.join()).toContain("does not belong to this .metadata");
});

async function run(
	...args: readonly string[]
): Promise<{ code: number; out: string; err: string }> {
	const io = createFakeIo({});
	const code = await main(args, io);
	return { code, out: io.out(), err: io.takeErr() };
}

test("the command writes a page, over what was there, and prints data", async () => {
	const html = join(root, "page.html");
	writeFileSync(html, "old");
	const { code, out } = await run("report", whole, "--html", html);
	expect([code, out]).toEqual([0, `report: ${html}\n49 tensors, 334 entries\n`]);
	expect(readFileSync(html, "utf8")).toMatch(/^<!doctype html>/);
	expect((await readdir(root)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
	const json = await run("report", whole, "--json");
	expect(JSON.parse(json.out)).toEqual(JSON.parse(JSON.stringify(await reportOfCheckpoint(whole))));
});

test.each([
	[2, ["report", "."], /--html report.html/],
	[2, ["report", ".", "--html", ""], /path of a file/],
	[3, ["report", join(REAL, "nowhere"), "--json"], /nowhere/],
	[5, ["report", REAL, "--html", "/proc/nowhere/a.html"], /nowhere/],
])("exit code %i: %j", async (code, args, message) => {
	const result = await run(...args);
	expect(result.err).toMatch(message);
	expect(result.code).toBe(code);
});
