import { crc32 } from "node:zlib";
import type { CrashPoint } from "./job-rig.ts";
import { createRandom, type Random } from "./random.ts";

/** What happens to the workers of one run before it is left in peace. */
export interface CrashPhase {
	/** Workers that are started. */
	readonly count: number;
	/** Indices of those that are killed at a moment. At an exact point, it is whoever comes there first. */
	readonly victims: readonly number[];
	/**
	 * `all`: every worker dies in the same moment. `some`: the others go on; with `freeze` they are stopped while the state is read, so
	 * that it is known exactly what the dead had written down.
	 */
	readonly how: "all" | "some";
	readonly freeze: boolean;
	/** When: this part of the time that an undisturbed job takes, or at an exact point of the work. */
	readonly at: { readonly fraction: number } | { readonly crash: Omit<CrashPoint, "token"> };
	/** Whether survivors leave the shares of the dead alone. */
	readonly noTakeover: boolean;
	/** A seed: the machine loses its power with the only worker, and forgets some of what was not made durable. */
	readonly power?: number | undefined;
}

/** One run: disturbed phases, then workers that finish what is left. */
export interface CrashStory {
	readonly seed: number;
	readonly phases: readonly CrashPhase[];
	readonly finalCount: number;
}

/** How often the workers of an undisturbed job met each point, at most. */
export type PointCounts = ReadonlyMap<string, number>;

const WORKER_COUNTS = [1, 1, 2, 2, 2, 3, 3, 4] as const;
const FINAL_COUNTS = [1, 1, 1, 1, 2, 2, 3] as const;
/** Disturbed phases of a run. */
const PHASES = [1, 1, 1, 1, 1, 2, 3] as const;
/** Of the time of an undisturbed job; later than its end, now and then. */
const LATEST_FRACTION = 1.1;

/**
 * Any point, and any of the times that it was met. By the rank of a hash, so that a point more or less, which another run may have met,
 * changes few choices.
 */
function pickPoint(random: Random, points: PointCounts): Omit<CrashPoint, "token"> {
	const salt = String(random.below(2 ** 31));
	const rankOf = (name: string): number => crc32(`${salt} ${name}`);
	const [point = ""] = [...points.keys()].toSorted((a, b) => rankOf(a) - rankOf(b));
	const nth = 1 + random.below(points.get(point) ?? 1);
	return { point, nth, when: random.pick(["before", "middle", "after"]) };
}

function tellPhase(random: Random, points: PointCounts): CrashPhase {
	const how = random.pick(["all", "some"] as const);
	const count = Math.max(how === "some" ? 2 : 1, random.pick(WORKER_COUNTS));
	const isExact = random.fraction() < 0.5;
	const first = random.below(count);
	const isPair = count > 2 && random.fraction() < 0.3;
	return {
		count,
		how,
		victims: isPair ? [first, (first + 1) % count] : [first],
		freeze: how === "some" && !isExact,
		at: isExact
			? { crash: pickPoint(random, points) }
			: { fraction: LATEST_FRACTION * random.fraction() },
		noTakeover: how === "some" && random.fraction() < 0.2,
	};
}

/** The story of a seed; the same for the same seed and points. */
export function tellStory(seed: number, points: PointCounts): CrashStory {
	const random = createRandom(seed);
	const phases = Array.from({ length: random.pick(PHASES) }, () => tellPhase(random, points));
	return { seed, phases, finalCount: random.pick(FINAL_COUNTS) };
}

/** One worker loses its machine at an exact point, perhaps more than once. */
export function tellPowerCut(seed: number, points: PointCounts): CrashStory {
	const random = createRandom(seed);
	const phases = Array.from({ length: random.pick(PHASES) }, (): CrashPhase => ({
		count: 1,
		how: "all",
		victims: [0],
		freeze: false,
		at: { crash: pickPoint(random, points) },
		noTakeover: false,
		power: random.below(2 ** 31),
	}));
	return { seed, phases, finalCount: random.pick(FINAL_COUNTS) };
}
