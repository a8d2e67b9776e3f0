import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join } from "node:path";

/** What this process may use of its machine. */
export interface Machine {
	/** Cores, a part of one counted as one. */
	readonly cores: number;
	readonly memoryBytes: number;
}

/** Where Linux shows control groups, version 2. */
const CGROUP_ROOT = "/sys/fs/cgroup";

/** Looks at affinity, control groups and memory. */
export function readMachine(): Machine {
	const total = totalmem();
	// 0, absent, or beyond all memory where nothing limits the process.
	const constrained = process.constrainedMemory() ?? 0;
	const memoryBytes = constrained > 0 ? Math.min(constrained, total) : total;
	const own = /^0::(\/.*)$/m.exec(readText("/proc/self/cgroup"))?.[1] ?? "/";
	const quota = coresOfQuotas(quotasFrom(own));
	return { cores: Math.max(1, Math.min(availableParallelism(), quota)), memoryBytes };
}

/** One worker's part of a machine that `workers` of them share. At least one core. */
export function partOfMachine({ cores, memoryBytes }: Machine, workers: number): Machine {
	return {
		cores: Math.max(1, Math.floor(cores / workers)),
		memoryBytes: Math.floor(memoryBytes / workers),
	};
}

/** `cpu.max` of a control group and of all above it: the tightest holds. In a container the group's path need not be visible. */
function quotasFrom(group: string): string[] {
	const texts: string[] = [];
	for (let path = group; ; path = dirname(path)) {
		texts.push(readText(join(CGROUP_ROOT, path, "cpu.max")));
		if (path === "/" || path === ".") return texts;
	}
}

/**
 * Cores that texts of `cpu.max` grant, rounded up; `Infinity` when none sets a limit.
 *
 * @see kernel `Documentation/admin-guide/cgroup-v2.rst`: `$MAX $PERIOD`, microseconds, `max` for no limit
 */
export function coresOfQuotas(texts: readonly string[]): number {
	return texts.reduce((cores, text) => {
		const [, quota, period] = /^(\d+) (\d+)/.exec(text) ?? [];
		if (quota === undefined || period === undefined) return cores;
		return Math.min(cores, Math.max(1, Math.ceil(Number(quota) / Number(period))));
	}, Infinity);
}

function readText(path: string): string {
	try {
		return readFileSync(path, "latin1");
	} catch {
		// Not Linux, or not there.
		return "";
	}
}
