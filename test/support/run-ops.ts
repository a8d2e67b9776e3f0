import type { ReshardBackend, ReshardOp } from "../../src/core/ports.ts";

/** Runs `ops` on a back end that has nothing else loaded. */
export async function runOps(
	backend: ReshardBackend,
	ops: readonly ReshardOp[],
	staging: Uint8Array,
	target: Uint8Array,
): Promise<void> {
	await using loaded = await backend.load(staging);
	await loaded.run(ops, target);
}
