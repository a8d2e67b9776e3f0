import { expect, test } from "vitest";
import { describeLoading, quoteForShell } from "../../src/cli/load-command.ts";
import { LAYOUT_FLAGS } from "../../src/cli/mesh-flags.ts";

const RECIPE = {
	directory: "/ckpt/step-0",
	target: "torchtitan@2026-06",
	family: "llama4",
	worldSize: 8,
	parallelism: { dpShard: -1, tp: 2, ep: 4, worldSize: 8 },
};

test("torchtitan on one machine", () => {
	expect(describeLoading(RECIPE)).toMatchInlineSnapshot(`
		"Load it in torchtitan (8 ranks; keys of torchtitan@2026-06):

		  NGPU=8 MODULE=llama4 CONFIG=YOUR_CONFIG ./run_train.sh \\
		    --checkpoint.enable \\
		    --checkpoint.initial_load_path=/ckpt/step-0 \\
		    --parallelism.data_parallel_shard_degree=4 \\
		    --parallelism.tensor_parallel_degree=2 \\
		    --parallelism.expert_parallel_degree=4

		torchtitan ignores --checkpoint.initial_load_path while its own checkpoint folder (outputs/checkpoint by default)
		holds a step-* folder: remove those, or give this run another --dump_folder."
	`);
});

test("torchtitan on many machines, with every setting of a pipeline", () => {
	const text = describeLoading({
		...RECIPE,
		directory: "/my ckpt/it's",
		worldSize: 64,
		parallelism: {
			pp: 4,
			pipelineSchedule: "Interleaved1F1B",
			moduleFqnsPerModelPart: [["tok_embeddings"], ["norm", "lm_head"]],
		},
	});
	expect(text).toContain("torchrun YOUR_NODES_AND_RENDEZVOUS -m torchtitan.train --module llama4");
	expect(text).toContain("--checkpoint.initial_load_path='/my ckpt/it'\\''s'");
	expect(text).toContain("--parallelism.data_parallel_shard_degree=16 ");
	expect(text).toContain("--parallelism.pipeline_parallel_schedule=Interleaved1F1B");
	expect(text).toContain(`module_fqns_per_model_part='[["tok_embeddings"],["norm","lm_head"]]'`);
});

test("torchtitan's module of Kimi K2 has its version in its name", () => {
	expect(describeLoading({ ...RECIPE, family: "kimi_k2" })).toContain(" MODULE=kimi_k2_7 ");
});

test("the printed flags are flags of ours", () => {
	const ours = LAYOUT_FLAGS.map(({ torchtitan }) => `--parallelism.${torchtitan}`);
	const printed = describeLoading(RECIPE).match(/--parallelism\.\w+/g) ?? [];
	expect(printed).toHaveLength(3);
	expect(ours).toEqual(expect.arrayContaining(printed));
});

test("plain torch for models of Hugging Face", () => {
	expect(describeLoading({ ...RECIPE, target: "hf" })).toContain(
		'dcp.load(state, checkpoint_id="/ckpt/step-0")',
	);
});

test.each([
	["plain/path-1.0", "plain/path-1.0"],
	["with space", "'with space'"],
	["$(rm)", "'$(rm)'"],
	["", "''"],
])("%j is quoted as %s", (text, quoted) => {
	expect(quoteForShell(text)).toBe(quoted);
});
