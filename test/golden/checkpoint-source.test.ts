import { join } from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import { sourcesOf } from "../../src/core/expr.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/dcp");

test.each(["real_small", "real_mp8_fsdp_tp_ep"])(
	"torch's %s is opened as whole tensors",
	async (name) => {
		await using opened = await openCheckpoint({ directory: join(FIXTURES, name) });
		expect(opened.exprs.size).toBe(opened.checkpoint.tensors.length);
		for (const { fqn, shape, dtype } of opened.checkpoint.tensors) {
			expect(opened.exprs.get(fqn)).toMatchObject({ shape, dtype });
		}
		const used = [...opened.exprs.values()].flatMap((expr) =>
			sourcesOf(expr).map((one) => one.name),
		);
		expect(new Set(used).size).toBe(used.length);
		expect(new Set(used)).toEqual(new Set(opened.source.tensors.map((one) => one.name)));
	},
);
