import type { Box } from "../core/box.ts";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import type { Layout, Shard } from "../core/layout.ts";
import { at, numel } from "../core/shape.ts";
import type { Plan, PlanTensor } from "./types.ts";

/**
 * The ranks that worker `index` of `count` stands for when none are named: neighbours, as launchers put them on one node.
 *
 * @returns Ranks `index·W/count` up to but not including `(index + 1)·W/count` of `worldSize` W.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when the world does not divide by `count`.
 */
export function ranksOfWorker(
	worldSize: number,
	worker: { readonly index: number; readonly count: number },
): readonly number[] {
	const { index, count } = worker;
	const own = worldSize / count;
	if (!Number.isInteger(own)) {
		throw new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${count} workers cannot stand for ${worldSize} ranks each with as many`,
			{
				hint: "Start a number of workers that divides the ranks, one for each node, or give every worker its --ranks.",
				facts: { worldSize, workers: count },
			},
		);
	}
	return Array.from({ length: own }, (_, i) => index * own + i);
}

/**
 * Checks the ranks that a worker is to stand for.
 *
 * @returns For each rank of the training job 1 if it is among them.
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when there are none, or one of them is no rank of the job.
 */
export function rankMask(worldSize: number, ranks: readonly number[]): Uint8Array {
	const mask = new Uint8Array(worldSize);
	for (const rank of ranks) {
		if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize) {
			throw new HfStreamDcpError(
				"OPTIONS_INVALID",
				`rank ${rank} is not in a training job of ${worldSize} ranks`,
				{
					hint: `Ranks are 0 to ${worldSize - 1}. Check the degrees of the mesh and --ranks.`,
					facts: { rank, worldSize },
				},
			);
		}
		mask[rank] = 1;
	}
	if (ranks.length === 0) {
		throw new HfStreamDcpError("OPTIONS_INVALID", "a worker must stand for at least one rank", {
			hint: "Name the ranks of this node: --ranks 0-7.",
		});
	}
	return mask;
}

/** Who holds the entries of a plan; made once for any number of questions. */
export interface Holders {
	/**
	 * The entries that any of the ranks holds, replicated blocks whose file belongs to another rank included.
	 *
	 * @param mask - As {@link rankMask} makes it.
	 * @returns Indices in `plan.entries`, ascending.
	 */
	entriesOf(mask: Uint8Array): Uint32Array;
}

/**
 * Finds out who holds what. The layout is asked again, so that a plan need not keep the ranks of a million entries.
 *
 * @param layout - The one that the plan was made with.
 */
export function holdersOf(plan: Plan, layout: Layout): Holders {
	const tensors = plan.tensors.map((tensor) => ({
		tensor,
		...shardsOfTensor(plan, layout, tensor),
	}));
	return {
		entriesOf(mask) {
			const held: number[] = [];
			// A layout returns the same list for all tensors that it cuts alike.
			const known = new Map<readonly Shard[], Uint8Array>();
			for (const { tensor, shards, shardOf } of tensors) {
				let isHeld = known.get(shards);
				if (isHeld === undefined) {
					isHeld = Uint8Array.from(shards, ({ ranks }) =>
						ranks.some((rank) => mask[rank] === 1) ? 1 : 0,
					);
					known.set(shards, isHeld);
				}
				for (let entry = tensor.firstEntry; entry < tensor.endEntry; entry++) {
					const place = entry - tensor.firstEntry;
					const shard = shardOf === undefined ? place : (shardOf[place] ?? 0);
					// A chunk without elements is in nobody's shard; whoever looks for it finds it everywhere.
					if (shards.length === 0 || isHeld[shard] === 1) held.push(entry);
				}
			}
			return Uint32Array.from(held);
		},
	};
}

/** The shards of a tensor, none when it has no elements, and which of them each of its entries is in. */
export function shardsOfTensor(
	plan: Plan,
	layout: Layout,
	tensor: PlanTensor,
): {
	readonly shards: readonly Shard[];
	/** `undefined` when entries are the shards themselves, in their order. */
	readonly shardOf: Uint32Array | undefined;
} {
	if (numel(tensor.shape) === 0) return { shards: [], shardOf: undefined };
	const shards = layout.shardsOf(tensor.fqn, tensor.shape);
	return { shards, shardOf: shardsOfEntries(plan, tensor, shards) };
}

/** The shard of every entry of a tensor; `undefined` when they are the shards themselves, in their order. */
function shardsOfEntries(
	plan: Plan,
	{ fqn, firstEntry, endEntry }: PlanTensor,
	shards: readonly Shard[],
): Uint32Array | undefined {
	const isUncut =
		endEntry - firstEntry === shards.length &&
		shards.every(({ box }, i) => isInside(at(plan.entries, firstEntry + i).box, box));
	if (isUncut) return undefined;
	let guess = 0;
	return Uint32Array.from({ length: endEntry - firstEntry }, (_, i) => {
		const { box } = at(plan.entries, firstEntry + i);
		// The pieces of a shard mostly follow one another, and shards are in the order of entries.
		for (let tried = 0; !isInside(box, at(shards, guess).box); tried++) {
			invariant(tried < shards.length, `an entry of ${fqn} lies in no shard of the layout`);
			guess = (guess + 1) % shards.length;
		}
		return guess;
	});
}

function isInside(inner: Box, outer: Box): boolean {
	for (let axis = 0; axis < inner.size.length; axis++) {
		const start = at(inner.offset, axis);
		const from = at(outer.offset, axis);
		if (start < from || start + at(inner.size, axis) > from + at(outer.size, axis)) return false;
	}
	return true;
}
