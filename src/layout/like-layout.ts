import { boxNumel } from "../core/box.ts";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import { invariant } from "../core/errors.ts";
import type { Layout, Shard } from "../core/layout.ts";
import { shapesEqual, type Shape } from "../core/shape.ts";
import { layoutInvalid } from "./invalid.ts";
import { assertPartition } from "./partition.ts";

/** What {@link createLikeLayout} needs. */
export interface LikeLayoutOptions {
	/** What the checkpoint is called in messages. */
	readonly where: string;
	/** Those that will be written again. */
	readonly tensors: readonly CheckpointTensor[];
	/** Ranks that wrote the checkpoint, as far as its files tell: {@link ranksOfFiles}. */
	readonly worldSize: number;
}

const DATA_FILE = /^__(\d{1,7})_\d+\.distcp$/;

/**
 * The layout of an existing checkpoint: the same blocks of every tensor, in the files of the same ranks.
 *
 * A checkpoint says who stored a block, not who else holds it. A tensor of which every rank stored a block has no replicas; the blocks
 * of any other may be held by every rank.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when a file's name does not say which rank it is of; `shardsOf` throws it when the blocks
 * of a tensor do not cover it or overlap.
 */
export function createLikeLayout(options: LikeLayoutOptions): Layout {
	const { where, worldSize } = options;
	const tensors = new Map(options.tensors.map((tensor) => [tensor.fqn, tensor]));
	const all = Object.freeze(Array.from({ length: worldSize }, (_, rank) => rank));
	const known = new Map<string, readonly Shard[]>();
	const ranks = new Map<string, number>();
	for (const { entries } of options.tensors) {
		for (const { file } of entries) {
			if (!ranks.has(file)) ranks.set(file, rankOfFile(file, where));
		}
	}
	const shards = ({ fqn, shape, entries }: CheckpointTensor): readonly Shard[] => {
		const full = entries.filter(({ box }) => boxNumel(box) > 0);
		assertPartition(
			fqn,
			shape,
			full.map(({ box }) => box),
			where,
		);
		const writers = new Set(full.map(({ file }) => ranks.get(file)));
		return full.map(({ box, file }) => {
			const storedBy = ranks.get(file) ?? 0;
			return { box, storedBy, ranks: writers.size === worldSize ? [storedBy] : all };
		});
	};
	return {
		worldSize,
		description: `as in ${where} (${worldSize} ${worldSize === 1 ? "rank" : "ranks"})`,
		dtypeOf: (fqn) => tensors.get(fqn)?.dtype,
		shardsOf(fqn: string, shape: Shape) {
			const tensor = tensors.get(fqn);
			invariant(
				tensor !== undefined && shapesEqual(tensor.shape, shape),
				`${fqn} was not matched with the checkpoint`,
			);
			let found = known.get(fqn);
			if (found === undefined) known.set(fqn, (found = Object.freeze(shards(tensor))));
			return found;
		},
	};
}

/**
 * The number of ranks that data files tell of: one more than the highest rank among their names. Ranks that stored nothing are not
 * known.
 *
 * @param where - What the checkpoint is called in messages.
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when a file's name does not say which rank it is of.
 */
export function ranksOfFiles(files: Iterable<string>, where: string): number {
	let highest = 0;
	for (const file of files) highest = Math.max(highest, rankOfFile(file, where));
	return highest + 1;
}

/** The first number of `__{rank}_{n}.distcp`. @see torch 2.13 `filesystem.py`, `FileSystemWriter.prepare_global_plan` */
function rankOfFile(file: string, where: string): number {
	const rank = DATA_FILE.exec(file)?.[1];
	if (rank !== undefined) return Number(rank);
	throw layoutInvalid(
		`${where}: the name of ${JSON.stringify(file)} does not say which rank wrote it`,
		"Use a checkpoint whose data files are called __{rank}_{n}.distcp, as torch's FileSystemWriter calls them.",
		{ file },
	);
}
