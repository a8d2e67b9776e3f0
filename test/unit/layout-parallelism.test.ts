import { describe, expect, test } from "vitest";
import { isHfStreamDcpError, type ErrorCode } from "../../src/core/errors.ts";
import {
	MAX_RANKS,
	resolveParallelism,
	type ParallelismInput,
} from "../../src/layout/parallelism.ts";
import { PIPELINE_SCHEDULES, parseSchedule } from "../../src/layout/schedules.ts";

test("nothing said is one rank", () => {
	expect(resolveParallelism({})).toEqual({
		dpReplicate: 1,
		dpShard: 1,
		tp: 1,
		cp: 1,
		pp: 1,
		ep: 1,
		etp: 1,
		worldSize: 1,
		schedule: "1F1B",
		division: {
			kind: "layers",
			layersPerStage: undefined,
			firstStageLessLayers: 1,
			lastStageLessLayers: 1,
		},
	});
});

test.each<[ParallelismInput, { dpShard: number; worldSize: number }]>([
	[
		{ dpShard: 64, tp: 8, ep: 16 },
		{ dpShard: 64, worldSize: 512 },
	],
	[
		{ dpReplicate: 2, dpShard: 4, cp: 2, tp: 2, pp: 3 },
		{ dpShard: 4, worldSize: 96 },
	],
	// The leftover, as torchtitan's default -1 takes it.
	[
		{ worldSize: 32, tp: 8 },
		{ dpShard: 4, worldSize: 32 },
	],
	[
		{ worldSize: 32, tp: 8, dpShard: -1 },
		{ dpShard: 4, worldSize: 32 },
	],
	[
		{ worldSize: 32, dpReplicate: 4, dpShard: 8 },
		{ dpShard: 8, worldSize: 32 },
	],
])("%j", (input, expected) => {
	expect(resolveParallelism(input)).toMatchObject(expected);
});

describe("refuses", () => {
	test.each<[ParallelismInput, ErrorCode, RegExp]>([
		[{ dpShard: -1 }, "OPTIONS_INVALID", /no world size is given/],
		[{ dpShard: 0 }, "OPTIONS_INVALID", /dp_shard is 0/],
		[{ dpShard: -2 }, "OPTIONS_INVALID", /dp_shard is -2/],
		[{ tp: 1.5 }, "OPTIONS_INVALID", /tp is 1.5/],
		[{ pp: Number.NaN }, "OPTIONS_INVALID", /pp is NaN/],
		[{ worldSize: 0 }, "OPTIONS_INVALID", /world size is 0/],
		[{ layersPerStage: 0 }, "OPTIONS_INVALID", /layers per stage is 0/],
		[{ firstStageLessLayers: -1 }, "OPTIONS_INVALID", /first stage less layers is -1/],
		[{ pipelineSchedule: "2F2B" }, "OPTIONS_INVALID", /no pipeline schedule "2F2B"/],
		[{ worldSize: 12, tp: 8 }, "LAYOUT_INVALID", /12 ranks cannot be divided by .* = 8/],
		[{ worldSize: 16, dpShard: 4, tp: 2 }, "LAYOUT_INVALID", /= 8 ranks, but the world size is 16/],
		[{ dpShard: 6, ep: 4 }, "LAYOUT_INVALID", /ep 4 does not divide dp_shard × cp × tp = 6/],
		[{ dpShard: 4, tp: 2, ep: 8, etp: 2 }, "LAYOUT_INVALID", /ep 8 × etp 2 does not divide/],
		[{ tp: 4, etp: 2 }, "LAYOUT_INVALID", /etp 2 is neither 1 nor tp \(4\)/],
		[{ dpShard: MAX_RANKS * 2 }, "LAYOUT_INVALID", /at most 1048576/],
		[{ dpShard: 2 ** 52, tp: 2 ** 52 }, "LAYOUT_INVALID", /at most 1048576/],
	])("%j", (input, code, message) => {
		let thrown: unknown;
		try {
			resolveParallelism(input);
		} catch (error) {
			thrown = error;
		}
		expect(isHfStreamDcpError(thrown, code)).toBe(true);
		expect(thrown).toHaveProperty("message", expect.stringMatching(message));
		expect(thrown).toHaveProperty("hint", expect.stringMatching(/\w/));
	});
});

test("schedules are found in any case", () => {
	for (const schedule of PIPELINE_SCHEDULES) {
		expect(parseSchedule(schedule.toUpperCase())).toBe(schedule);
	}
});
