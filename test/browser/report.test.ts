import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listRanks, parseRankRanges } from "../../src/core/rank-ranges.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub } from "../../src/demo/local-hub.ts";
import { type Plan, readManifest, renderReport, reportOfCheckpoint } from "../../src/index.ts";
import type { ReportData } from "../../src/report/report-data.ts";
import { type Browser, findChromium, launchChromium, type Page } from "../support/chromium.ts";
import {
	EMPTY_REPORT,
	hostileReport,
	largeReport,
	timelinesOfFour,
} from "../support/report-samples.ts";
import { runCli } from "../support/run-cli.ts";

const found = findChromium();
const RESULTS = join(import.meta.dirname, "../../test-results");
const AXE = readFileSync(
	join(import.meta.dirname, "../../node_modules/axe-core/axe.min.js"),
	"utf8",
);
const TORCH = join(import.meta.dirname, "../fixtures/dcp/real_mp8_fsdp_tp_ep");
const MODEL = createDemoModel();
const MESH = ["--dp-shard=4", "--tp=2", "--ep=4"];

let root = "";
let browser: Browser;
let plan: Plan;
let checkpoint = "";

beforeAll(async () => {
	if ("skip" in found) return;
	root = mkdtempSync(join(tmpdir(), "hf-stream-dcp-report-"));
	checkpoint = join(root, "checkpoint");
	await using hub = await createLocalHub({ repos: [MODEL] });
	const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(root, "home") };
	const page = join(root, "plan.html");
	// A report replaces what was there.
	writeFileSync(page, "old");
	const planned = ["plan", MODEL.id, ...MESH, "--workers=2", "--html", page, "--json"];
	const shown = await runCli(planned, env);
	expect(shown.code, shown.stderr).toBe(0);
	plan = JSON.parse(shown.stdout) as Plan;
	const converted = await runCli([MODEL.id, ...MESH, "--out", checkpoint, "--quiet"], env);
	expect(converted.code, converted.stderr).toBe(0);
	const reported = await runCli(["report", checkpoint, "--html", join(root, "report.html")], env);
	expect(reported.code, reported.stderr).toBe(0);
	browser = await launchChromium(found.chromium);
});

afterAll(async () => {
	if ("skip" in found) return;
	await browser[Symbol.asyncDispose]();
	rmSync(root, { recursive: true });
});

/** Runs `use` with a page that shows a file. */
async function withPage(path: string, use: (page: Page) => Promise<void>): Promise<void> {
	const page = await browser.newPage();
	try {
		await page.theme("light");
		await page.open(path);
		await use(page);
	} finally {
		await page.close();
	}
}

function fileOf(name: string, data: ReportData): string {
	const path = join(root, name);
	writeFileSync(path, renderReport(data));
	return path;
}

/** Terms and what the page says they are. */
function factsOf(page: Page, selector: string): Promise<{ readonly [term: string]: string }> {
	return page.evaluate(`Object.fromEntries(
		[...document.querySelectorAll(${JSON.stringify(`${selector} > div`)})].map((row) => [
			row.querySelector("dt").textContent,
			row.querySelector("dd").textContent,
		]))`);
}

/** `2.89 MB (2,886,848 bytes)` → 2886848; `12 bytes` → 12. */
function exact(text: string | undefined): number {
	const [, digits = ""] = /([\d,]+) bytes?\)?$/.exec(text ?? "") ?? [];
	return Number(digits.replaceAll(",", ""));
}

function number(text: string | undefined): number {
	return Number(text?.replaceAll(",", ""));
}

const ITEM = { bfloat16: 2, float32: 4 } as const;

function dataBytes({ dtype, box }: Pick<Plan["entries"][number], "dtype" | "box">): number {
	return box.size.reduce((a, b) => a * b, ITEM[dtype as keyof typeof ITEM]);
}

/** Clicks the cell of a rank in the mesh of 4 × 2, the larger dimension across. */
async function pickRank(page: Page, rank: number): Promise<void> {
	const [across, down] = [Math.floor(rank / 2), rank % 2];
	await page.click(".mesh .picture-keys", (across + 0.5) / 4, (down + 0.5) / 2);
}

/** Nothing went wrong, and nothing was asked for but the page. */
function expectCalm(page: Page): void {
	expect(page.complaints).toEqual([]);
	expect(page.requests.filter((url) => !url.startsWith("file:"))).toEqual([]);
	expect(page.requests).toHaveLength(1);
}

/** What axe finds against WCAG 2.2 A and AA and best practice. */
async function violations(page: Page): Promise<readonly string[]> {
	await page.evaluate(`${AXE}; 0`);
	return page.evaluate(`axe.run().then(({ violations }) =>
		violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html.slice(0, 200))))`);
}

describe.skipIf("skip" in found)(`in Chromium${"skip" in found ? `: ${found.skip}` : ""}`, () => {
	test("a plan: a tensor, a block and a rank picked by keys say what plan --json says", async () => {
		await withPage(join(root, "plan.html"), async (page) => {
			const { totals } = plan;
			expect(await page.text("h1")).toBe(MODEL.id);
			expect(await page.text("#figure-entries")).toBe(String(totals.entries));
			expect(await page.text("#over-fetch")).toContain("0 B over");
			// Into the search field, to its first hit, and on to the second.
			await page.evaluate(`document.querySelector("input[type=search]").focus()`);
			await page.type("layers.1 experts");
			await page.press("ArrowDown", "ArrowDown");
			const hits = plan.tensors.filter(({ fqn }) => /layers\.1.*experts/.test(fqn));
			const tensor = hits[1]!;
			const title = await page.text("#tensor-title");
			expect(title).toBe(tensor.fqn);
			const about = await factsOf(page, "#tensor-facts");
			expect(about["Shape"]).toBe(tensor.shape.join(" × "));
			expect(about["Dtype"]).toBe(tensor.dtype);
			const entries = plan.entries.slice(tensor.firstEntry, tensor.endEntry);
			expect(number(about["Blocks"])).toBe(entries.length);
			expect(exact(about["Bytes"])).toBe(entries.reduce((sum, entry) => sum + dataBytes(entry), 0));
			await page.evaluate(`document.querySelector(".table-list .list").focus()`);
			await page.press("ArrowDown");
			for (const [index, entry] of entries.entries()) {
				const box = await factsOf(page, "#box-facts");
				const { offset, size } = entry.box;
				expect(number(box["Offset"]), `${index}`).toBe(entry.offset);
				expect(box["File"]).toBe(entry.file);
				expect(exact(box["Entry"])).toBe(entry.length);
				expect(exact(box["Data"])).toBe(dataBytes(entry));
				expect(box["Box"]).toBe(
					`[${offset.map((start, axis) => `${start}:${start + size[axis]!}`).join(", ")}]`,
				);
				await page.press("ArrowDown");
			}
			// The mesh: the first press picks rank 0.
			await page.evaluate(`document.querySelector(".mesh .picture-keys").focus()`);
			await page.press("Home", "ArrowRight", "ArrowDown");
			const rank = await factsOf(page, "#rank-facts");
			expect(rank["Place"]).toBe("fsdp 1, tp 1");
			expect(exact(rank["Holds"])).toBeGreaterThanOrEqual(totals.rankBytes.min);
			expect(exact(rank["Holds"])).toBeLessThanOrEqual(totals.rankBytes.max);
			const own = plan.files.filter(({ name }) => name.startsWith("__3_"));
			expect(rank["Its files"]).toContain(`${own.length}, `);
			expect(exact(rank["Its files"])).toBe(own.reduce((sum, { bytes }) => sum + bytes, 0));
			const said = await page.text("#picked");
			expect(said).toContain(tensor.fqn);
			expect(said).toContain("rank 3 holds");
			expectCalm(page);
		});
	});

	test("a finished conversion: every rank picked with the mouse holds what the manifest says", async () => {
		const manifest = (await readManifest(checkpoint))!;
		await withPage(join(root, "report.html"), async (page) => {
			for (let rank = 0; rank < 8; rank++) {
				await pickRank(page, rank);
				const said = await factsOf(page, "#rank-facts");
				const isHeld = manifest.holders.map((text) =>
					listRanks(parseRankRanges(text)!).includes(rank),
				);
				const held = manifest.tensors.map(({ dtype, entries }) =>
					entries
						.filter(({ holders }) => isHeld[holders])
						.map(({ box }) => dataBytes({ dtype, box })),
				);
				expect(exact(said["Holds"])).toBe(held.flat().reduce((sum, bytes) => sum + bytes, 0));
				expect(number(said["Blocks"])).toBe(held.flat().length);
				expect(said["Tensors"]).toBe(
					`${held.filter((own) => own.length > 0).length} of ${manifest.tensors.length}`,
				);
			}
			expect(await page.text("#figure-files")).toBe(
				formatted(manifest.files.reduce((sum, { bytes }) => sum + bytes, 0)),
			);
			// What the run's own time line says.
			const [share] = manifest.summary.workers.flatMap(({ timelines = [] }) => timelines);
			expect(await page.text(".lane")).toContain(
				`${formatted(share!.points.at(-1)![1])} in, ${formatted(share!.points.at(-1)![2])} out`,
			);
			// A block picked in the picture is the one that the list then has.
			await page.click(".tensor-picture .picture-keys", 0.1, 0.05);
			const box = await factsOf(page, "#box-facts");
			const row = await page.text(`.table-list [aria-selected="true"]`);
			expect(row).toContain(box["Box"]);
			expectCalm(page);
		});
	});

	test("screenshots in light and dark, on a laptop and on a phone; nothing for axe to find", async () => {
		const data = await reportOfCheckpoint(checkpoint);
		const timelines = timelinesOfFour();
		const path = fileOf("whole.html", { ...data, timelines });
		await withPage(path, async (page) => {
			await page.click("#tensor-2");
			await pickRank(page, 3);
			await page.evaluate(`document.querySelectorAll("summary").forEach((one) => one.click())`);
			for (const theme of ["light", "dark"] as const) {
				await page.theme(theme);
				await page.resize(1280, 900);
				await page.evaluate("scrollTo(0, 0)");
				await page.screenshot(join(RESULTS, `report-${theme}.png`), { isWhole: true });
				expect(await violations(page), theme).toEqual([]);
				await page.resize(390, 844);
				await page.screenshot(join(RESULTS, `report-phone-${theme}.png`), { isWhole: true });
				expect(await isTooWide(page)).toEqual([]);
			}
			expect(await violations(page), "phone").toEqual([]);
			expect(await page.evaluate(`document.querySelectorAll(".lane").length`)).toBe(4);
			expect(await page.text("#timeline")).toMatch(/⇄ taken over/);
			expect(await page.text("#timeline")).toMatch(/▲ 3 retries/);
			expectCalm(page);
		});
	});

	test("the theme can be chosen against the system's", async () => {
		await withPage(join(root, "report.html"), async (page) => {
			const surface = `getComputedStyle(document.body).backgroundColor`;
			const light = await page.evaluate(surface);
			await page.click(`input[value="dark"] + span`);
			const dark = await page.evaluate(surface);
			expect(dark).not.toBe(light);
			await page.theme("dark");
			await page.click(`input[value="light"] + span`);
			expect(await page.evaluate(surface)).toBe(light);
			expectCalm(page);
		});
	});

	test("names are text, whatever they say, and the policy lets no other program run", async () => {
		await withPage(fileOf("hostile.html", hostileReport()), async (page) => {
			await page.click("#tensor-0");
			await pickRank(page, 0);
			await page.evaluate(`document.querySelectorAll("summary").forEach((one) => one.click())`);
			expect(await page.evaluate("document.images.length")).toBe(0);
			expect(await page.text("h1")).toContain("</script><img");
			expect(await isTooWide(page)).toEqual([]);
			expect(await page.evaluate("'wasHacked' in window")).toBe(false);
			expectCalm(page);
			await page.evaluate(`(() => {
				const script = document.createElement("script");
				script.textContent = "window.wasHacked = 1";
				document.body.append(script);
			})()`);
			expect(await page.evaluate("'wasHacked' in window")).toBe(false);
			const asked = await page.evaluate(
				`fetch("http://127.0.0.1:9/").then(() => "sent", () => "refused")`,
			);
			expect(asked).toBe("refused");
			await page.until(`true`);
			expect(page.complaints.join("\n")).toMatch(/Content Security Policy/);
		});
	});

	test("a report of nothing, and of a checkpoint of torch's, say what is not known", async () => {
		await withPage(fileOf("empty.html", EMPTY_REPORT), async (page) => {
			expect(await page.text("#timeline")).toContain("Not recorded");
			expect(await page.text(".found")).toBe("0 of 0 tensors");
			expect(await violations(page)).toEqual([]);
			expectCalm(page);
		});
		const data = await reportOfCheckpoint(TORCH);
		await withPage(fileOf("torch.html", data), async (page) => {
			expect(await page.text("#unknown")).toContain("no hf-stream-dcp.json");
			expect(await page.text("#timeline")).toContain("no manifest");
			await page.click(".mesh .picture-keys", 3.5 / 8);
			const said = await factsOf(page, "#rank-facts");
			const own = data.files.filter(({ rank }) => rank === 3);
			expect(exact(said["Its files"])).toBe(own.reduce((sum, { bytes }) => sum + bytes, 0));
			expect(await violations(page)).toEqual([]);
			await page.screenshot(join(RESULTS, "report-torch.png"), { isWhole: true });
			expectCalm(page);
		});
	});

	test("100,000 entries are there in less than a second, and are read when they are picked", async () => {
		const path = fileOf("large.html", largeReport(400, 256));
		const times: number[] = [];
		for (let run = 0; run < 3; run++) {
			await withPage(path, async (page) => {
				times.push(
					await page.evaluate(`performance.getEntriesByName("report-ready")[0].startTime`),
				);
				await page.evaluate(`document.querySelector(".tensor-list .list").focus()`);
				await page.press("End");
				expect(await page.text("#tensor-title")).toBe("layers.49.part7.weight");
				await page.evaluate(`document.querySelector(".table-list .list").focus()`);
				await page.press("End");
				const box = await factsOf(page, "#box-facts");
				expect(number(box["Offset"])).toBe(399 * 9792);
				expect(box["Held by"]).toBe("rank 255");
				expect(await page.evaluate(`document.querySelectorAll(".row").length`)).toBeLessThan(80);
				expectCalm(page);
			});
		}
		const [, median = Number.NaN] = times.toSorted((a, b) => a - b);
		console.log(`100,000 entries: ready after ${times.map(Math.round).join(", ")} ms`);
		expect(median).toBeLessThan(1000);
	});
});

/** Elements that make the page wider than its window. */
function isTooWide(page: Page): Promise<readonly string[]> {
	return page.evaluate(`document.documentElement.scrollWidth <= innerWidth ? [] :
		[...document.querySelectorAll("body *")]
			.filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
			.slice(0, 5)
			.map((one) => one.outerHTML.slice(0, 200))`);
}

/** As the page writes bytes of megabytes. */
function formatted(bytes: number): string {
	const value = bytes / 1e6;
	return `${value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2)} MB`;
}
