import type { Placement } from "./chunk.ts";

/** What {@link parsePlacement} reads, for messages. */
export const PLACEMENT_FORMS = "Shard(0), Replicate() or _StridedShard(dim=0, sf=2)";

const REPLICATE = /^(?:Replicate\(\)|R)$/;
const SHARD = /^(?:Shard\((?:dim=)?(-?\d+)\)|S\((-?\d+)\))$/;
const STRIDED =
	/^(?:_StridedShard\((?:dim=)?(-?\d+), ?(?:sf=|split_factor=)?(\d+)\)|_S\((-?\d+), ?(\d+)\))$/;

/**
 * Reads a placement as Python prints it: `repr` and `str` of torch 2.13's `torch.distributed.tensor` placements. A negative dimension
 * counts from the end, as in torch.
 *
 * @returns `undefined` for any other text; so for `Partial()`, of which no checkpoint can be made.
 */
export function parsePlacement(text: string): Placement | undefined {
	if (REPLICATE.test(text)) return { kind: "replicate" };
	const shard = SHARD.exec(text);
	if (shard !== null) return { kind: "shard", dim: Number(shard[1] ?? shard[2]) };
	const strided = STRIDED.exec(text);
	if (strided === null) return undefined;
	const splitFactor = Number(strided[2] ?? strided[4]);
	if (splitFactor < 1) return undefined;
	return { kind: "strided-shard", dim: Number(strided[1] ?? strided[3]), splitFactor };
}

/** `_StridedShard(dim=0, sf=2)`: the `repr` of torch. */
export function formatPlacement(placement: Placement): string {
	if (placement.kind === "replicate") return "Replicate()";
	if (placement.kind === "shard") return `Shard(dim=${placement.dim})`;
	return `_StridedShard(dim=${placement.dim}, sf=${placement.splitFactor})`;
}
