import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseJournal } from "../../src/job/journal.ts";
import { placesOf } from "../../src/plan/places.ts";
import { shareOf } from "../../src/plan/share.ts";
import type { Plan } from "../../src/plan/types.ts";
import { liveTile } from "../../src/stream/live-tile.ts";
import type { FileSpan } from "./byte-set.ts";

/** Names in a directory; none when there is no such directory. */
function list(path: string): string[] {
	return existsSync(path) ? readdirSync(path) : [];
}

/** The name of the highest number in a directory, of those that match. */
function newest(path: string, pattern: RegExp): string | undefined {
	const numberOf = (name: string): number => Number(pattern.exec(name)?.[1] ?? 0);
	return list(path)
		.filter((name) => pattern.test(name))
		.toSorted((a, b) => numberOf(b) - numberOf(a))[0];
}

/** Where the state of the newest job in `out` keeps what is of its plan; `undefined` before there is such a place. */
export function planPathOf(out: string): string | undefined {
	const state = join(out, ".hf-stream-dcp");
	const job = newest(state, /^job\.(\d+)$/);
	if (job === undefined) return undefined;
	const name = list(join(state, job)).find((other) => other.startsWith("plan."));
	return name === undefined ? undefined : join(state, job, name);
}

/**
 * The source bytes that a job still has to fetch by what is written down on disk: those of every entry that no journal names. While
 * nobody works on it, these are exactly the bytes that whoever goes on asks for.
 */
export function spansLeft(out: string, plan: Plan): FileSpan[] {
	if (existsSync(join(out, ".metadata"))) return [];
	return Array.from({ length: plan.shares }, (_, share) => spansLeftOf(out, plan, share)).flat();
}

/** The same of one share. */
export function spansLeftOf(out: string, plan: Plan, share: number): FileSpan[] {
	const path = planPathOf(out);
	if (path === undefined) return spansOf(plan, share);
	const name = String(share).padStart(5, "0");
	if (existsSync(join(path, "done", name))) return [];
	return spansOf(plan, share, finishedIn(join(path, name)));
}

/** The source bytes of a share, without those that only these entries of it need. */
export function spansOf(
	plan: Plan,
	share: number,
	finished: ReadonlySet<number> = new Set(),
): FileSpan[] {
	const own = shareOf(plan, share).plan;
	const places = placesOf(own);
	return own.tiles.flatMap((tile) =>
		(liveTile(own, tile, places, (entry) => finished.has(entry))?.ranges ?? []).map(
			({ file, start, end }) => ({ file: own.source.files[file]!.path, start, end }),
		),
	);
}

/** Entries of a share that its newest journal names. A journal begins with what it took over from those before it. */
function finishedIn(path: string): ReadonlySet<number> {
	const name = newest(path, /^journal\.(\d+)$/);
	if (name === undefined) return new Set();
	const text = readFileSync(join(path, name), "utf8");
	return new Set(parseJournal(text)?.finished.keys());
}

/** Shares whose newest claim is that of one of these processes. */
export function sharesHeldBy(out: string, pids: readonly number[]): number[] {
	const path = planPathOf(out);
	if (path === undefined) return [];
	return list(path)
		.filter((name) => /^\d{5,}$/.test(name))
		.filter((name) => {
			const claim = newest(join(path, name), /^claim\.(\d+)$/);
			if (claim === undefined) return false;
			const pid = /"pid":(\d+)/.exec(readFileSync(join(path, name, claim), "utf8"))?.[1];
			return pids.includes(Number(pid));
		})
		.map(Number);
}

/** Into how many shares the job in `out` is cut; `undefined` when none has begun. */
export function sharesOf(out: string): number | undefined {
	const state = join(out, ".hf-stream-dcp");
	const job = newest(state, /^job\.(\d+)$/);
	const path = job === undefined ? join(out, "summary.json") : join(state, job, "record");
	if (!existsSync(path)) return undefined;
	return Number(/"shares":\s*(\d+)/.exec(readFileSync(path, "utf8"))?.[1]);
}
