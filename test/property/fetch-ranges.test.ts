import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
	cutAfter,
	type Fault,
	gzipped,
	ignoreRange,
	inTurn,
	longChunked,
	resetAtOnce,
	shift,
	shortChunked,
	shortHonest,
	status,
} from "../support/faults.ts";
import { CONTENT, CONTENT_BYTES, QUICK, setStage } from "../support/fetch-hub.ts";

const HARMFUL: readonly Fault[] = [ignoreRange, gzipped, shift, shortHonest, longChunked];
const HARMLESS: readonly Fault[] = [
	resetAtOnce,
	shortChunked,
	status(500),
	status(503),
	status(408),
];

const cut = fc.integer({ min: 0, max: CONTENT.length }).map(cutAfter);
const harmless = fc.oneof(cut, fc.constantFrom(...HARMLESS), fc.constant(undefined));
// A second wrong answer in a row is an error, so one is always followed by bytes.
const harmful = fc.constantFrom(...HARMFUL).map((fault) => [fault, cutAfter(1)]);
const faults = fc.array(fc.oneof(harmless, harmful), { maxLength: 12 }).map((list) => list.flat());
const range = fc
	.tuple(fc.nat(CONTENT.length), fc.nat(CONTENT.length))
	.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

test("whatever goes wrong on the way, every reader gets exactly its bytes", async () => {
	await fc.assert(
		fc.asyncProperty(faults, fc.array(range, { maxLength: 4 }), async (list, ranges) => {
			await using stage = await setStage({
				intercept: inTurn(...list),
				// Faults of one reader's turn may all meet another.
				session: { timeouts: { ...QUICK, retries: list.length } },
			});
			for (const [start, end] of ranges) {
				const bytes = await stage.read(start, end);
				expect(CONTENT_BYTES.subarray(start, end).equals(bytes)).toBe(true);
			}
		}),
		{ numRuns: 40, interruptAfterTimeLimit: 5000 },
	);
});
