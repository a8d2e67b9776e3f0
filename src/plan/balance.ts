import { at } from "../core/shape.ts";
import { divide } from "./divide.ts";
import { bytesOf, type Group } from "./groups.ts";

/** The heaviest share may be this many times the mean: what it takes less to be even is not worth more entries. */
export const BALANCE = 1.1;

/** How far a seam between shares may be from where it should be, in means: two of them stay within {@link BALANCE}. */
const SEAM_SLACK = 0.045;

/** Cutting makes more entries, whose prefixes and suffixes move the seams; they come to rest at once unless the model is tiny. */
const MAX_ROUNDS = 3;

/** Parts of a mean that no group may exceed, one after the other, where seams alone do not balance the shares. */
const FINER = [1 / 2, 1 / 4, 1 / 8];

/** Cuts a group where what comes before costs about `seams`, if it can be cut. */
export type Split = (group: Group, seams: readonly number[]) => readonly Group[] | undefined;

/** The groups of every share. */
export type Shares = readonly (readonly Group[])[];

/**
 * Divides groups among `count` shares, so that the heaviest costs at most {@link BALANCE} times the mean. Groups stay whole where
 * that is enough. Otherwise they are cut where the seams between shares should be: one cut for a seam, two more where it falls into
 * an expert of a stack; and where that is not enough, because there is no place for a cut near a seam, heavy groups are cut finer
 * step by step, as long as it helps.
 *
 * @param groups - In source order.
 */
export function balance(groups: readonly Group[], count: number, split: Split): Shares {
	let best = divided(groups, count);
	const isDone = (): boolean =>
		heaviest(best) <= BALANCE * mean(best) || isAsGoodAsItGets(best, split);
	const consider = (shares: Shares): void => {
		if (heaviest(shares) < heaviest(best)) best = shares;
	};
	let total = bytesOf(groups);
	let pieces = groups;
	for (let round = 0; round < MAX_ROUNDS && !isDone(); round++) {
		const shares = cutAtSeams(groups, count, total, split);
		consider(shares);
		pieces = shares.flat();
		const bytes = bytesOf(pieces);
		if (bytes === total) break;
		total = bytes;
	}
	for (const part of [Infinity, ...FINER]) {
		if (isDone()) break;
		const limit = part * mean(best);
		pieces = pieces.flatMap((group) => cutBelow(group, limit, split));
		consider(divided(pieces, count));
	}
	return best;
}

/** Whether the heaviest share is a single group that cannot be cut. */
function isAsGoodAsItGets(shares: Shares, split: Split): boolean {
	const most = heaviest(shares);
	const [group, ...others] = shares.find((share) => bytesOf(share) === most) ?? [];
	return (
		group !== undefined && others.length === 0 && split(group, [group.bytes / 2]) === undefined
	);
}

function heaviest(shares: Shares): number {
	return shares.reduce((max, share) => Math.max(max, bytesOf(share)), 0);
}

function mean(shares: Shares): number {
	return shares.reduce((sum, share) => sum + bytesOf(share), 0) / shares.length;
}

function divided(groups: readonly Group[], count: number): Shares {
	const weights = groups.map(({ bytes }) => bytes);
	return divide(weights, count).map((members) => members.map((index) => at(groups, index)));
}

/** Contiguous shares, with groups cut where a seam has to be. */
function cutAtSeams(groups: readonly Group[], count: number, total: number, split: Split): Shares {
	const each = total / count;
	const slack = SEAM_SLACK * each;
	const todo = groups.toReversed();
	let given = 0;
	return Array.from({ length: count }, (_, index) => {
		const share: Group[] = [];
		const end = index === count - 1 ? Infinity : each * (index + 1);
		for (let group = todo.pop(); group !== undefined; group = todo.pop()) {
			const left = end - given;
			const excess = group.bytes - left;
			if (excess > slack && left > slack) {
				const pieces = split(group, seamsFrom(left, each, group.bytes));
				if (pieces !== undefined) {
					todo.push(...pieces.toReversed());
					continue;
				}
			}
			// The seam is at the nearer end of the group.
			if (excess > left) {
				todo.push(group);
				break;
			}
			share.push(group);
			given += group.bytes;
		}
		return share;
	});
}

/** A seam this near the end, in steps, is the end. */
const ROUNDING = 1e-6;

/** `first` and every `step` after it, below `end`. */
function seamsFrom(first: number, step: number, end: number): readonly number[] {
	const count = Math.ceil((end - first) / step - ROUNDING);
	return Array.from({ length: count }, (_, index) => first + index * step);
}

/** Cuts a group, and what comes of it, until none costs more than `limit` or can be cut. */
function cutBelow(group: Group, limit: number, split: Split): readonly Group[] {
	const done: Group[] = [];
	const todo = [group];
	for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
		const each = next.bytes / Math.ceil(next.bytes / limit);
		const pieces = next.bytes > limit ? split(next, seamsFrom(each, each, next.bytes)) : undefined;
		if (pieces === undefined) done.push(next);
		else todo.push(...pieces.toReversed());
	}
	return done;
}
