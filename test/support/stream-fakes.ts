import { crc32 } from "node:zlib";
import { boxNumel } from "../../src/core/box.ts";
import { itemBytes } from "../../src/core/dtype.ts";
import type {
	ByteRange,
	ByteSource,
	EntrySink,
	ReadOptions,
	StrongHash,
	WriteCounters,
} from "../../src/core/ports.ts";
import type { Source } from "../../src/core/source.ts";
import { pull } from "../../src/plan/pull.ts";
import type { Plan } from "../../src/plan/types.ts";
import { hashOf } from "./check-manifest.ts";
import { runNaively } from "./naive-pieces.ts";

/** Reproducible bytes. */
export function randomBytes(length: number, seed: number): Uint8Array {
	let state = seed % 2 ** 31;
	return Uint8Array.from({ length }, () => {
		state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
		return state >>> 16;
	});
}

/** The files of a source, full of random bytes. */
export function randomFiles(source: Source): Map<string, Uint8Array> {
	return new Map(source.files.map((file, i) => [file.path, randomBytes(file.bytes, i + 1)]));
}

/** Lets timers and everything that is due run, so that calls of several tasks interleave. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Counts calls of ports and makes one of them fail. */
export interface Faults {
	/** Counted over all ports, from 0. */
	calls: number;
	/** Reads and writes under way. */
	inFlight: number;
	/** Called at the beginning of each; what it throws is what the port's method throws. */
	readonly before: (call: number, what: string) => void;
}

/** No faults. */
export function noFaults(): Faults {
	return { calls: 0, inFlight: 0, before: () => {} };
}

async function guarded(faults: Faults, what: string, work: () => void): Promise<void> {
	const call = faults.calls++;
	faults.inFlight++;
	try {
		await turn();
		faults.before(call, what);
		if (call % 3 === 0) await turn();
		work();
	} finally {
		faults.inFlight--;
	}
}

/** A source in memory that keeps a list of what was read. */
export interface MemorySource extends ByteSource {
	readonly reads: ByteRange[];
}

/** Serves `files`. */
export function memorySource(
	files: ReadonlyMap<string, Uint8Array>,
	faults: Faults = noFaults(),
): MemorySource {
	const reads: ByteRange[] = [];
	return {
		reads,
		async readInto(range: ByteRange, into: Uint8Array, options?: ReadOptions) {
			await guarded(faults, "read", () => {
				options?.signal?.throwIfAborted();
				if (into.length !== range.end - range.start) throw new Error("wrong length of memory");
				reads.push(range);
				into.set(files.get(range.file)!.subarray(range.start, range.end));
			});
		},
		async [Symbol.asyncDispose]() {},
	};
}

/** Counters of a sink that writes nothing anywhere. */
export const NO_WRITES: WriteCounters = {
	mode: "buffered",
	directBytes: 0,
	bufferedBytes: 0,
	calls: 0,
	refusals: 0,
};

/** A sink in memory. Checks its caller: nothing is written twice, only complete entries are finished, with their CRC, and their hash if one is given. */
export interface MemorySink extends EntrySink {
	readonly data: readonly Uint8Array[];
	readonly finished: Set<number>;
	/** Finished and flushed. */
	readonly durable: Set<number>;
	/** Those that were given, by entry. Each was compared with the data. */
	readonly hashes: ReadonlyMap<number, StrongHash>;
	/** What the caller did wrong. Kept here as well as thrown: after a first failure nobody hears of a second one. */
	readonly violations: string[];
}

/** Takes the entries of `plan`; `resumed` are finished already. `mode` is what it claims to be. */
export function memorySink(
	plan: Plan,
	faults: Faults = noFaults(),
	resumed: ReadonlySet<number> = new Set(),
	mode: WriteCounters["mode"] = "buffered",
): MemorySink {
	const data = plan.entries.map(
		(entry) => new Uint8Array(boxNumel(entry.box) * itemBytes(entry.dtype)),
	);
	const written = data.map((bytes) => new Uint8Array(bytes.length));
	const finished = new Set(resumed);
	const durable = new Set(resumed);
	const hashes = new Map<number, StrongHash>();
	const violations: string[] = [];
	const check = (isRight: boolean, message: string): void => {
		if (isRight) return;
		violations.push(message);
		throw new Error(message);
	};
	return {
		data,
		finished,
		durable,
		hashes,
		violations,
		writes: { ...NO_WRITES, mode },
		isFinished: (index) => resumed.has(index),
		async write(index, offset, bytes) {
			await guarded(faults, "write", () => {
				check(!finished.has(index), `entry ${index} is written after it was finished`);
				const marks = written[index]!.subarray(offset, offset + bytes.length);
				check(marks.length === bytes.length, `entry ${index} is written past its end`);
				check(!marks.includes(1), `entry ${index} is written twice`);
				marks.fill(1);
				// As late as a real write would read them: memory given back too early shows.
				data[index]!.set(bytes, offset);
			});
		},
		async finish(index, crc, strong) {
			await guarded(faults, "finish", () => {
				check(!finished.has(index), `entry ${index} is finished twice`);
				check(!written[index]!.includes(0), `entry ${index} is finished before it is complete`);
				check(crc === crc32(data[index]!), `entry ${index} has another CRC`);
				if (strong !== undefined) {
					const hash = hashOf(data[index]!, strong.ends);
					check(strong.hash === hash, `entry ${index} has another hash`);
					hashes.set(index, strong);
				}
				finished.add(index);
			});
		},
		async flush() {
			const done = [...finished];
			await guarded(faults, "flush", () => {
				for (const index of done) durable.add(index);
			});
		},
		async [Symbol.asyncDispose]() {},
	};
}

/** What every entry's data must be: the pieces of its whole box, done one element at a time from whole files. */
export function expectedData(plan: Plan, files: ReadonlyMap<string, Uint8Array>): Uint8Array[] {
	const tensors = new Map(plan.source.tensors.map((tensor) => [tensor.name, tensor]));
	return plan.entries.map((entry) => {
		const data = new Uint8Array(boxNumel(entry.box) * itemBytes(entry.dtype));
		for (const piece of pull(plan.tensors[entry.tensor]!.expr, entry.box)) {
			runNaively(
				piece,
				(name, offset, bytes) => {
					const { file, begin } = tensors.get(name)!;
					return files.get(file)!.subarray(begin + offset, begin + offset + bytes);
				},
				data,
			);
		}
		return data;
	});
}
