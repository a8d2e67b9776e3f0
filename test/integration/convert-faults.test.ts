import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { createDemoModel } from "../../src/demo/demo-model.ts";
import { createLocalHub, type LocalHubOptions } from "../../src/demo/local-hub.ts";
import {
	convert,
	type ConvertSummary,
	isHfStreamDcpError,
	type ProgressEvent,
	parseConversionOptions,
	parseConvertOptions,
	type Plan,
	prepareConversion,
} from "../../src/index.ts";
import { partsOf } from "../../src/plan/parts.ts";
import {
	cutBeforeEnd,
	cutHalfway,
	type Fault,
	gzipped,
	ignoreRange,
	inTurnOn,
	longChunked,
	resetAtOnce,
	shift,
	shortChunked,
	shortHonest,
	stallAfter,
	status,
} from "../support/faults.ts";
import { checkpointFiles, done } from "../support/job-state.ts";

const model = createDemoModel();
let folder = "";
let undisturbed: Readonly<Record<string, string>>;

/** SHA-256 of every file of a directory, by name. */
async function filesOf(directory: string): Promise<Readonly<Record<string, string>>> {
	const names = checkpointFiles(directory);
	const hashed = names.map(async (name): Promise<[string, string]> => {
		const bytes = await readFile(join(directory, name));
		return [name, createHash("sha256").update(bytes).digest("hex")];
	});
	return Object.fromEntries(await Promise.all(hashed));
}

/** Converts the demo model from a Hub that behaves as `options` say. */
async function run(
	name: string,
	options: Partial<LocalHubOptions> = {},
	env: Readonly<Record<string, string>> = {},
): Promise<{
	readonly summary: ConvertSummary;
	readonly out: string;
	readonly cdn: number;
	readonly events: readonly ProgressEvent[];
}> {
	const out = join(folder, name);
	await using hub = await createLocalHub({
		repos: [{ id: model.id, files: model.files }],
		...options,
	});
	const events: ProgressEvent[] = [];
	const converted = await convert(
		parseConvertOptions({
			onEvent: (event: ProgressEvent) => events.push(event),
			repo: model.id,
			out,
			parallelism: { dpShard: 4, tp: 2, ep: 4 },
			memoryBytes: 16 * 2 ** 20,
			connections: 4,
			environment: { HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, "home"), ...env },
		}),
	);
	const summary = done(converted);
	const cdn = hub.requests.filter(({ origin }) => origin === "cdn").length;
	return { summary, out, cdn, events };
}

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hf-stream-dcp-"));
	undisturbed = await filesOf((await run("undisturbed")).out);
});

afterAll(async () => {
	await rm(folder, { recursive: true });
});

/** Entries that constants and these files alone make. */
function entriesFrom(plan: Plan, files: ReadonlySet<string>): number {
	const all = new Set(plan.entries.keys());
	for (const tile of plan.tiles) {
		if (tile.ranges.every(({ file }) => files.has(plan.source.files[file]!.path))) continue;
		for (const { entry } of partsOf(plan, tile)) all.delete(entry);
	}
	return all.size;
}

/** Requests for headers come first: two for each file. */
const HEADER_REQUESTS =
	2 * [...model.files.keys()].filter((name) => name.endsWith(".safetensors")).length;

describe("a conversion that meets faults writes the same bytes", () => {
	const cases: readonly [name: string, faults: readonly (Fault | undefined)[], environment?: {}][] =
		[
			["a reset before the first byte", [resetAtOnce]],
			["a cut in the middle", [cutHalfway]],
			["a cut before the last byte", [cutBeforeEnd(1)]],
			["ten cuts", Array.from({ length: 10 }, () => cutHalfway)],
			["the whole file for a range", [ignoreRange]],
			["a shifted range", [shift]],
			["a short body, honestly", [shortHonest]],
			// Bodies without a length are left to undici, which asks again and meets the fault, too.
			["a short body without a length", [shortChunked, shortChunked]],
			["a byte too many", [longChunked, longChunked]],
			["a compressed body", [gzipped]],
			["a 403 for a signed URL", [status(403, {}, "Auth failed: expired")]],
			["a burst of 5xx", [status(500), status(502), status(503)]],
			["a 429", [status(429, { RateLimit: '"resolvers";r=0;t=0' })]],
			["a stall", [stallAfter(10_000)], { HF_HUB_DOWNLOAD_TIMEOUT: "1" }],
		];
	test.each(cases)("%s, while headers and while weights are read", async (name, faults, env) => {
		const untouched = (requests: number) => Array.from({ length: requests }, () => undefined);
		// Each fault is one more request for a header, so that the second series begins with the weights.
		const headers = [...untouched(1), ...faults, ...untouched(HEADER_REQUESTS - 1)];
		const intercept = inTurnOn(model.files, [...headers, ...faults]);
		const { out, summary, events } = await run(name, { intercept }, env);
		expect(await filesOf(out)).toEqual(undisturbed);
		// Every fault was met; what was asked again besides was lost behind one: sent ahead over a connection that was cut.
		const again = events.filter(({ kind }) => ["retry", "hedge", "fallback"].includes(kind));
		const lost = again.filter((event) => event.kind === "retry" && event.delayMs === 0);
		expect(again.length).toBeGreaterThanOrEqual(2 * faults.length);
		expect(again.length - lost.length).toBeLessThanOrEqual(2 * faults.length);
		expect(summary.fetchedBytes).toBe(summary.totals.fetchBytes);
	});

	test("signed URLs that serve one range each", async () => {
		const { out } = await run("bound", { rangeBinding: "always" });
		expect(await filesOf(out)).toEqual(undisturbed);
	});

	test("a silence in which the first run is stopped: the second finishes without fetching again", async () => {
		const out = join(folder, "dropped");
		const served = new Set<string>();
		let requests = 0;
		const intercept: LocalHubOptions["intercept"] = ({ record }, next) => {
			if (record.origin !== "cdn" || record.range === undefined) return next();
			requests++;
			if (requests <= HEADER_REQUESTS) return next();
			// Two answers, and then none: what they make must be finished before the run is stopped.
			if (requests > HEADER_REQUESTS + 2) return;
			served.add(record.path.split("/").at(-1) ?? "");
			next();
		};
		const stop = new AbortController();
		const env = { HF_HOME: join(folder, "home") };
		const options = {
			repo: model.id,
			parallelism: { dpShard: 4, tp: 2, ep: 4 },
			connections: 1,
		};
		await using bad = await createLocalHub({ repos: [model], intercept });
		const firstOptions = { ...options, environment: { ...env, HF_ENDPOINT: bad.endpoint } };
		await using prepared = await prepareConversion(parseConversionOptions(firstOptions));
		requests = 0;
		let finished = 0;
		const first = convert({
			...parseConvertOptions({ ...firstOptions, out }),
			signal: stop.signal,
			onEvent: (event) => {
				if (event.kind === "entry") finished++;
				if (served.size === 2 && finished === entriesFrom(prepared.plan, served)) {
					stop.abort(new Error("enough"));
				}
			},
		});
		await expect(first).rejects.toThrow("enough");
		expect(await readdir(out)).not.toContain(".metadata");
		await using good = await createLocalHub({ repos: [model] });
		const environment = { ...env, HF_ENDPOINT: good.endpoint };
		const second = done(await convert(parseConvertOptions({ ...options, out, environment })));
		expect(second.resumedEntries).toBe(finished);
		expect(second.resumedEntries).toBeGreaterThan(0);
		expect(second.fetchedBytes).toBeLessThan(second.totals.fetchBytes);
		expect(await filesOf(out)).toEqual(undisturbed);
	});
});

describe("a conversion that cannot go on ends with a typed error and no .metadata", () => {
	const always =
		(fault: Fault): LocalHubOptions["intercept"] =>
		(call, next) => {
			// Headers pass, and every weight request meets the fault.
			const isWeights =
				call.record.range !== undefined && !/bytes=(0-7|8-)/.test(call.record.range);
			if (call.record.origin !== "cdn" || !isWeights) next();
			else inTurnOn(model.files, [fault])(call, next);
		};
	const cases: readonly [name: string, fault: Fault, code: ErrorCode][] = [
		["ranges are ignored", ignoreRange, "RANGE_IGNORED"],
		["ranges are shifted", shift, "RANGE_MISMATCH"],
		["bodies are compressed", gzipped, "RANGE_MISMATCH"],
		["bodies are short", shortHonest, "RANGE_MISMATCH"],
		["every URL is refused", status(403, {}, "SignatureDoesNotMatch"), "HTTP_STATUS"],
	];
	test.each(cases)("%s", async (name, fault, code) => {
		const error: unknown = await run(name, { intercept: always(fault) }).catch((caught) => caught);
		expect(isHfStreamDcpError(error, code)).toBe(true);
		const left = await readdir(join(folder, name));
		expect(left).not.toContain(".metadata");
	});

	test("the repository changes under way", async () => {
		const name = "changed";
		const moved = new Map(model.files);
		const weights = [...moved.keys()].find((path) => path.endsWith(".safetensors"))!;
		moved.set(
			weights,
			Uint8Array.from(moved.get(weights)!, (byte) => byte ^ 1),
		);
		await using other = await createLocalHub({ repos: [{ id: model.id, files: moved }] });
		let weightsSeen = 0;
		const intercept: LocalHubOptions["intercept"] = ({ record, response }, next) => {
			const isResolve = record.origin === "hub" && record.method === "HEAD";
			if (record.origin === "cdn" && ++weightsSeen > HEADER_REQUESTS) {
				response.writeHead(403).end("expired");
			} else if (isResolve && weightsSeen > HEADER_REQUESTS) {
				response.writeHead(307, { Location: `${other.endpoint}${record.path}` }).end();
			} else next();
		};
		const error: unknown = await run(name, { intercept }).catch((caught) => caught);
		expect(isHfStreamDcpError(error, "SOURCE_CHANGED")).toBe(true);
		expect(await readdir(join(folder, name))).not.toContain(".metadata");
	});
});
