/**
 * How torchtitan treats the parameter behind a key, before FSDP:
 * - `whole`: a buffer; every rank has all of it, and FSDP leaves it alone.
 * - `column`, `row`: tensor parallelism cuts dimension 0, 1.
 * - `uncut`: tensor parallelism leaves it alone.
 * - `qkv`: `column`, or `whole` where the model keeps one fused parameter and its state dict hook takes it apart.
 * - `expert`: routed experts, dimension 0; `tensorParallelDim` is what tp (without EP) or etp cuts.
 * - `fsdpOnly`: a model that torchtitan runs without tensor parallelism.
 */
export type KeyRule =
	| { readonly kind: "whole" | "column" | "row" | "uncut" | "qkv" | "fsdpOnly" }
	| { readonly kind: "expert"; readonly tensorParallelDim: 1 | 2 | undefined };

interface KeyRow {
	readonly rule: KeyRule;
	/**
	 * A pattern matches the end of a key, from a segment's start; `^` pins it to the key's start. `#` is an index, `*` any part of a
	 * segment, `**` any rest, `{a,b}` a choice.
	 */
	readonly keys: readonly string[];
}

/**
 * Every key of every model, in all spellings since 2025-08. The first match counts.
 *
 * @see torchtitan: `models/<name>/sharding.py` of b5bcd76c (2026-08-21) and of the tree of 2026-06-08; `distributed/expert_parallel.py`
 * before c4b409af for `etp`. Proved by `test/golden/layout-torchtitan.test.ts`.
 */
const KEY_ROWS: readonly KeyRow[] = [
	{
		rule: { kind: "whole" },
		keys: ["moe.{expert_bias,expert_bias_E,tokens_per_expert}", "^freqs_cis"],
	},
	{
		rule: { kind: "qkv" },
		keys: ["attention.qkv_linear.{wq,wk,wv}.{weight,bias}"],
	},
	{
		rule: { kind: "expert", tensorParallelDim: 1 },
		keys: [
			"moe.{experts,routed_experts.inner_experts}.{w1,w1_EFD,w3,w3_EFD}",
			"moe.{experts,routed_experts.inner_experts}.{mlp1_weight,mlp1_weight_EGD,mlp1_bias,mlp1_bias_EG}",
		],
	},
	{
		rule: { kind: "expert", tensorParallelDim: 2 },
		keys: ["moe.{experts,routed_experts.inner_experts}.{w2,w2_EDF,mlp2_weight,mlp2_weight_EDF}"],
	},
	{
		rule: { kind: "expert", tensorParallelDim: undefined },
		keys: ["moe.{experts,routed_experts.inner_experts}.{mlp2_bias,mlp2_bias_ED}"],
	},
	{
		rule: { kind: "column" },
		keys: [
			"^tok_embeddings.{weight,embedding.weight}",
			"^{lm_head,output}.weight",
			"attention.{wq,wk,wv,wq_b,wkv_b,o_gate,qkv_linear.wqkv}.{weight,bias}",
			"attention.sinks",
			"{feed_forward,shared_experts}.{w1,w3}.{weight,bias}",
			// Gated delta net of qwen3_5, and vision encoders.
			"attn.{wq,wk,wv,qkv,in_proj_*,conv_*}.{weight,bias}",
			"attn.{A_log,dt_bias}",
			"{mlp,merger,deepstack_merger_list.#}.linear_fc1.{weight,bias}",
			"projector.linear_1.{weight,bias}",
		],
	},
	{
		rule: { kind: "row" },
		keys: [
			"attention.wo.weight",
			"{feed_forward,shared_experts}.w2.weight",
			"attn.{wo,out_proj,proj}.weight",
			"{mlp,merger,deepstack_merger_list.#}.linear_fc2.weight",
			"projector.linear_2.weight",
		],
	},
	{
		rule: { kind: "fsdpOnly" },
		// Flux.
		keys: [
			"^{double_blocks,single_blocks}.#.**",
			"^{img_in,txt_in,time_in,vector_in,final_layer}.**",
		],
	},
	{
		rule: { kind: "uncut" },
		keys: [
			"{*norm,norm#}.{weight,bias}",
			"attention.{wq_a,wkv_a}.weight",
			"^mtp_layers.#.eh_proj.weight",
			// A row cut leaves the bias whole.
			"attention.wo.bias",
			"{feed_forward,shared_experts}.w2.bias",
			"attn.{wo,out_proj,proj}.bias",
			"{mlp,merger,deepstack_merger_list.#}.linear_fc2.bias",
			"projector.linear_2.bias",
			"moe.router.gate.{weight,bias}",
			"moe.shared_experts.gate.weight",
			"^vision_encoder.{ln_pre,ln_post,conv1_linear,patch_embed,patch_embed.proj}.{weight,bias}",
			"^vision_encoder.{pos_embed,positional_embedding_vlm}",
			"^vision_adapter.{c_fc,c_proj}.weight",
			"^vision_projection.weight",
		],
	},
];

const COMPILED: readonly { readonly pattern: RegExp; readonly rule: KeyRule }[] = KEY_ROWS.flatMap(
	({ rule, keys }) => keys.map((key) => ({ pattern: compile(key), rule })),
);

/** The rule of the parameter or buffer called `fqn`, or `undefined` for a name that no torchtitan model has. */
export function keyRule(fqn: string): KeyRule | undefined {
	return COMPILED.find(({ pattern }) => pattern.test(fqn))?.rule;
}

/** A key pattern as a regular expression over whole segments. */
function compile(key: string): RegExp {
	const isPinned = key.startsWith("^");
	const body = (isPinned ? key.slice(1) : key).replaceAll(/\*\*|[.*#{},]/g, (token) => {
		switch (token) {
			case "**":
				return ".+";
			case ".":
				return "\\.";
			case "*":
				return "[^.]*";
			case "#":
				return "\\d+";
			case "{":
				return "(?:";
			case "}":
				return ")";
			default:
				return "|";
		}
	});
	return new RegExp(`${isPinned ? "^" : "(?:^|\\.)"}${body}$`);
}
