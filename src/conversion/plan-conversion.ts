import type { EventListener } from "../core/events.ts";
import { torchSaveFormat } from "../dcp/torch-save.ts";
import type { OpenedSource } from "../fetch/open-source.ts";
import type { Layout } from "../core/layout.ts";
import type { ModelMap } from "../core/recipe.ts";
import { wholeQkvOf } from "../layout/fused-qkv.ts";
import type { ConversionOptions } from "../options.ts";
import { createPlan } from "../plan/create-plan.ts";
import { limitsFor } from "../plan/limits.ts";
import type { Plan } from "../plan/types.ts";
import { partOfMachine, readMachine } from "../threads/machine.ts";
import { planThreads } from "../threads/plan-threads.ts";
import { arrangeModel, type LayoutOrigin } from "./arrange-model.ts";
import type { LayoutChoice } from "./layout-choice.ts";

/** A source, and the plan of what is made of it. */
export interface PlannedConversion {
	/** The caller disposes of it. */
	readonly opened: OpenedSource;
	readonly plan: Plan;
	readonly layout: Layout;
	readonly map: ModelMap;
	/** Where the layout came from, if not from a mesh. */
	readonly origin: LayoutOrigin | undefined;
	/** Bytes of `wq`, `wk`, `wv` that a rank will read whole because its model fuses QKV: the most of any rank. */
	readonly wholeQkvBytes: number;
}

/**
 * Opens a source and plans its conversion.
 *
 * @param options - With the family read.
 * @param choice - What decides the layout.
 * @param shares - Into how many the plan is cut.
 * @throws {HfStreamDcpError} every error of the source, the family, the layout and the plan.
 */
export async function planConversion(
	options: ConversionOptions,
	choice: LayoutChoice,
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
		const { map, layout, origin } = arrangeModel(source, options, choice);
		const { dtype } = options;
		const format = torchSaveFormat;
		const plan = createPlan({ source, map, layout, format, dtype, limits, shares });
		return {
			opened,
			plan,
			layout,
			map,
			origin,
			wholeQkvBytes: wholeQkvUnder(choice, plan, layout, map),
		};
	} catch (error) {
		await opened[Symbol.asyncDispose]();
		throw error;
	}
}

/** A layout that does not come from a mesh does not say what the mesh would cut. */
function wholeQkvUnder(
	choice: LayoutChoice,
	{ tensors }: Plan,
	layout: Layout,
	{ rules }: ModelMap,
): number {
	if (choice.kind !== "mesh") return 0;
	return wholeQkvOf({ tensors, layout, parallelism: choice.parallelism, rules });
}

/** What the number of threads depends on. */
export function demandOf(
	{ threads, connections, localWorkers }: ConversionOptions,
	{ kind }: OpenedSource,
): Parameters<typeof planThreads>[1] {
	const machine = partOfMachine(readMachine(), localWorkers);
	return { threads, connections, isRemote: kind === "hub", machine };
}
