import { itemBytes, type Dtype } from "../core/dtype.ts";
import type { Layout, LayoutRules } from "../core/layout.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Parallelism } from "./parallelism.ts";
import { keyRule } from "./torchtitan-keys.ts";

/** What {@link wholeQkvOf} counts, and for which job. */
export interface WholeQkvOptions {
	readonly tensors: readonly {
		readonly fqn: string;
		readonly dtype: Dtype;
		readonly shape: Shape;
	}[];
	readonly layout: Layout;
	readonly parallelism: Parallelism;
	readonly rules: LayoutRules;
}

/**
 * Bytes of `wq`, `wk`, `wv` that a rank reads whole although the mesh would cut them, because its model fuses QKV: the most of
 * any rank; 0 when nothing is fused or nothing would be cut.
 *
 * @see LayoutRules.fusedQkv
 */
export function wholeQkvOf({ tensors, layout, parallelism, rules }: WholeQkvOptions): number {
	const { dpShard, cp, tp } = parallelism;
	if (!rules.fusedQkv || dpShard * cp * tp === 1) return 0;
	// Every rank of a pipeline rank holds the same: the first stands for them all.
	const byFirstRank = new Map<number, number>();
	for (const { fqn, dtype, shape } of tensors) {
		if (keyRule(fqn)?.kind !== "qkv") continue;
		for (const { ranks } of layout.shardsOf(fqn, shape)) {
			const first = ranks[0] ?? 0;
			const bytes = numel(shape) * itemBytes(dtype);
			byFirstRank.set(first, (byFirstRank.get(first) ?? 0) + bytes);
		}
	}
	return Math.max(0, ...byFirstRank.values());
}
