import { HfStreamDcpError } from "../core/errors.ts";

/** A pipeline schedule, as torch spells it. */
export type PipelineSchedule =
	| "1F1B"
	| "GPipe"
	| "Interleaved1F1B"
	| "InterleavedZeroBubble"
	| "LoopedBFS"
	| "ZBVZeroBubble"
	| "DualPipeV";

/**
 * How a schedule deals stages to pipeline ranks: `single` one each; `loop` round and round; `v` two each, there and back.
 */
export type ScheduleStyle = "single" | "loop" | "v";

/**
 * @see torch 2.13 `pipelining/schedules.py`, `get_schedule_class`, and torchtitan b5bcd76c
 * `distributed/pipeline_parallel.py`, `_get_pp_rank_to_stage_indices_mapping`.
 */
const STYLES: { readonly [S in PipelineSchedule]: ScheduleStyle } = {
	"1F1B": "single",
	GPipe: "single",
	Interleaved1F1B: "loop",
	InterleavedZeroBubble: "loop",
	LoopedBFS: "loop",
	ZBVZeroBubble: "v",
	DualPipeV: "v",
};

/** Every schedule that {@link parseSchedule} knows. */
export const PIPELINE_SCHEDULES: readonly PipelineSchedule[] = Object.keys(
	STYLES,
) as PipelineSchedule[];

/** How `schedule` deals its stages. */
export function scheduleStyle(schedule: PipelineSchedule): ScheduleStyle {
	return STYLES[schedule];
}

/**
 * The schedule called `name`, in any case, as torch reads it.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when there is none.
 */
export function parseSchedule(name: string): PipelineSchedule {
	const found = PIPELINE_SCHEDULES.find(
		(schedule) => schedule.toLowerCase() === name.toLowerCase(),
	);
	if (found !== undefined) return found;
	throw new HfStreamDcpError("OPTIONS_INVALID", `there is no pipeline schedule "${name}"`, {
		hint: `Choose one of ${PIPELINE_SCHEDULES.join(", ")}.`,
		facts: { schedule: name },
	});
}
