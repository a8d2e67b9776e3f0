import { describe, expect, test } from "vitest";
import {
	chooseThreads,
	divideConnections,
	MIN_THREAD_BYTES,
	type ThreadsDemand,
	type ThreadsReason,
} from "../../src/threads/choose-threads.ts";
import { coresOfQuotas, partOfMachine, readMachine } from "../../src/threads/machine.ts";

const GiB = 2 ** 30;

/** A large model on a large machine. */
const LARGE: ThreadsDemand = {
	threads: "auto",
	machine: { cores: 64, memoryBytes: 512 * GiB },
	fetchBytes: 200 * GiB,
	budgetBytes: GiB / 2,
	connections: 64,
	isRemote: true,
};

describe("the number of threads", () => {
	const cores = (count: number): Partial<ThreadsDemand> => ({
		machine: { cores: count, memoryBytes: 512 * GiB },
	});
	test.each<[string, Partial<ThreadsDemand>, number, ThreadsReason]>([
		["what was asked for, whatever the machine", { threads: 40, ...cores(1) }, 40, "asked"],
		["one core", cores(1), 1, "cores"],
		["two cores", cores(2), 2, "cores"],
		["64 cores", {}, 16, "most"],
		["a small model", { fetchBytes: 3 * MIN_THREAD_BYTES + 1 }, 3, "bytes"],
		["a tiny model", { fetchBytes: 1 }, 1, "bytes"],
		["nothing to fetch", { fetchBytes: 0 }, 1, "bytes"],
		["little memory", { machine: { cores: 64, memoryBytes: 3 * GiB } }, 3, "memory"],
		["less memory than one budget", { budgetBytes: 600 * GiB }, 1, "memory"],
		["few connections", { connections: 4 }, 4, "connections"],
		["few connections that nobody needs", { connections: 4, isRemote: false }, 16, "most"],
	])("%s", (_, demand, count, reason) => {
		expect(chooseThreads({ ...LARGE, ...demand })).toEqual({ count, reason });
	});
});

test.each<[number, number, number[]]>([
	[8, 1, [8]],
	[8, 3, [3, 3, 2]],
	[2, 3, [1, 1, 1]],
	[64, 16, Array.from({ length: 16 }, () => 4)],
])("%i connections for %i threads", (connections, threads, expected) => {
	expect(divideConnections(connections, threads)).toEqual(expected);
});

test.each<[string[], number]>([
	[[], Infinity],
	[["max 100000\n", ""], Infinity],
	[["200000 100000\n"], 2],
	[["150000 100000\n"], 2],
	[["10000 100000"], 1],
	[["max 100000", "400000 100000", "350000 100000"], 4],
])("the quotas %j grant %f cores", (texts, cores) => {
	expect(coresOfQuotas(texts)).toBe(cores);
});

test("this machine has cores and memory", () => {
	const { cores, memoryBytes } = readMachine();
	expect(cores).toBeGreaterThanOrEqual(1);
	expect(Number.isInteger(cores)).toBe(true);
	expect(memoryBytes).toBeGreaterThan(2 ** 26);
});

test.each([
	[{ cores: 64, memoryBytes: 512 * GiB }, 8, { cores: 8, memoryBytes: 64 * GiB }],
	[{ cores: 7, memoryBytes: 16 * GiB }, 2, { cores: 3, memoryBytes: 8 * GiB }],
	[{ cores: 2, memoryBytes: 16 * GiB }, 4, { cores: 1, memoryBytes: 4 * GiB }],
])("%j among %i workers", (machine, workers, expected) => {
	expect(partOfMachine(machine, workers)).toEqual(expected);
});
