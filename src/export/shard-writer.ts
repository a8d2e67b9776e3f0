import type { Box } from "../core/box.ts";
import { boxRuns } from "../core/box-runs.ts";
import { itemBytes } from "../core/dtype.ts";
import { invariant } from "../core/errors.ts";
import type { EntrySink } from "../core/ports.ts";
import { at } from "../core/shape.ts";
import type { DataFiles } from "../dcp/data-files.ts";
import type { Plan } from "../plan/types.ts";
import type { ShardFile } from "./shard-files.ts";

/** Writes what a plan makes to its place in safetensors files. */
export interface ShardWriter extends EntrySink {
	/**
	 * Writes the headers and makes everything durable.
	 *
	 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
	 */
	complete(): Promise<void>;
}

/** Where a tensor's data is. */
interface Place {
	readonly file: number;
	readonly begin: number;
	/** All of it, in bytes: one more axis, of the bytes of an element. */
	readonly whole: Box;
}

/**
 * Opens a writer.
 *
 * @param plan - Of whole tensors; each is in one of `shards`.
 * @param files - The files of `shards`, by their index there. The caller closes them.
 */
export function createShardWriter(
	plan: Plan,
	shards: readonly ShardFile[],
	files: DataFiles,
): ShardWriter {
	const places = placesOf(shards);
	const boxes = plan.entries.map(({ box, dtype }) => inBytes(box, itemBytes(dtype)));
	const entryPlaces = plan.entries.map(({ fqn }) => {
		const place = places.get(fqn);
		invariant(place !== undefined, `${fqn} is in no file`);
		return place;
	});
	const missing = new Float64Array(shards.length);
	shards.forEach(({ bytes, header }, index) => (missing[index] = bytes - header.length));

	return {
		get writes() {
			return files.writes;
		},
		isFinished: () => false,
		async write(index, offset, bytes) {
			const { file, begin, whole } = at(entryPlaces, index);
			let done = 0;
			for (const run of boxRuns(whole, at(boxes, index), offset)) {
				const length = Math.min(run.length, bytes.length - done);
				await files.write(file, begin + run.start, [bytes.subarray(done, done + length)]);
				done += length;
				if (done === bytes.length) break;
			}
			invariant(done === bytes.length, `entry ${index} is shorter than what was made of it`);
			missing[file] = (missing[file] ?? 0) - done;
		},
		finish: () => Promise.resolve(),
		flush: () => files.sync(),
		async complete() {
			for (const [index, { header, path }] of shards.entries()) {
				invariant(missing[index] === 0, `${path} lacks ${missing[index]} bytes`);
				await files.write(index, 0, [header]);
			}
			await files.sync();
		},
		[Symbol.asyncDispose]: () => Promise.resolve(),
	};
}

function placesOf(shards: readonly ShardFile[]): ReadonlyMap<string, Place> {
	return new Map(
		shards.flatMap(({ tensors }, file) =>
			tensors.map(({ name, begin, shape, dtype }) => {
				const whole = inBytes({ offset: shape.map(() => 0), size: shape }, itemBytes(dtype));
				return [name, { file, begin, whole }] as const;
			}),
		),
	);
}

function inBytes({ offset, size }: Box, width: number): Box {
	return { offset: [...offset, 0], size: [...size, width] };
}
