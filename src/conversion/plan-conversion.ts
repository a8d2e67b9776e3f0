import type { EventListener } from "../core/events.ts";
import { torchSaveFormat } from "../dcp/torch-save.ts";
import type { OpenedSource } from "../fetch/open-source.ts";
import type { Layout } from "../core/layout.ts";
import { createLayout } from "../layout/create-layout.ts";
import { wholeQkvOf } from "../layout/fused-qkv.ts";
import { resolveParallelism } from "../layout/parallelism.ts";
import { mapModel } from "../models/map-model.ts";
import type { ConversionOptions } from "../options.ts";
import { createPlan } from "../plan/create-plan.ts";
import { limitsFor } from "../plan/limits.ts";
import type { Plan } from "../plan/types.ts";
import { partOfMachine, readMachine } from "../threads/machine.ts";
import { planThreads } from "../threads/plan-threads.ts";

/** A source, and the plan of what is made of it. */
export interface PlannedConversion {
	/** The caller disposes of it. */
	readonly opened: OpenedSource;
	readonly plan: Plan;
	readonly layout: Layout;
	/** Bytes of `wq`, `wk`, `wv` that a rank will read whole because its model fuses QKV: the most of any rank. */
	readonly wholeQkvBytes: number;
}

/**
 * Opens a source and plans its conversion.
 *
 * @param shares - Into how many the plan is cut.
 * @throws {HfStreamDcpError} every error of the source, the family, the layout and the plan.
 */
export async function planConversion(
	options: ConversionOptions,
	onEvent: EventListener,
	shares: number,
	open: () => Promise<OpenedSource>,
): Promise<PlannedConversion> {
	const limits = limitsFor(options.memoryBytes);
	onEvent({ kind: "phase", phase: "resolve" });
	const opened = await open();
	for (const message of opened.warnings) onEvent({ kind: "warning", message });
	try {
		onEvent({ kind: "phase", phase: "plan" });
		const { source } = opened;
		const map = mapModel({
			source,
			family: options.family,
			target: options.target,
			dtype: options.dtype,
			keepQuantized: options.keepQuantized,
		});
		const parallelism = resolveParallelism(options.parallelism);
		const layout = createLayout({ parallelism, rules: map.rules, facts: map.facts });
		const { dtype } = options;
		const format = torchSaveFormat;
		const plan = createPlan({ source, map, layout, format, dtype, limits, shares });
		const { rules } = map;
		const { tensors } = plan;
		const wholeQkvBytes = wholeQkvOf({ tensors, layout, parallelism, rules });
		return { opened, plan, layout, wholeQkvBytes };
	} catch (error) {
		await opened[Symbol.asyncDispose]();
		throw error;
	}
}

/** What the number of threads depends on. */
export function demandOf(
	{ threads, connections, localWorkers }: ConversionOptions,
	{ kind }: OpenedSource,
): Parameters<typeof planThreads>[1] {
	const machine = partOfMachine(readMachine(), localWorkers);
	return { threads, connections, isRemote: kind === "hub", machine };
}
