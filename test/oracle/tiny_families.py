"""A tiny model of every family."""

from tiny_sizes import make, with_vision


def llama(**changes):
    return make("LlamaForCausalLM", "LlamaConfig", rms_norm_eps=1e-5, **changes)


def qwen3(**changes):
    return make("Qwen3ForCausalLM", "Qwen3Config", head_dim=24, **changes)


def qwen3_moe():
    return make(
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        head_dim=24,
        moe_intermediate_size=40,
        num_experts=8,
        num_experts_per_tok=2,
        norm_topk_prob=True,
    )


MLA = dict(
    num_hidden_layers=3,
    num_key_value_heads=4,
    moe_intermediate_size=40,
    n_routed_experts=8,
    n_shared_experts=2,
    num_experts_per_tok=2,
    first_k_dense_replace=1,
    q_lora_rank=20,
    kv_lora_rank=24,
    qk_nope_head_dim=12,
    qk_rope_head_dim=8,
    v_head_dim=20,
    n_group=1,
    topk_group=1,
    rms_norm_eps=1e-6,
    num_mtp_layers=0,
)


def deepseek_v3(**changes):
    return make("DeepseekV3ForCausalLM", "DeepseekV3Config", **{**MLA, **changes})


def gpt_oss():
    """64 heads over 8 of 64: torchtitan's layers are for these."""
    return make(
        "GptOssForCausalLM",
        "GptOssConfig",
        num_attention_heads=64,
        num_key_value_heads=8,
        head_dim=64,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=128,
    )


def kimi():
    vision = dict(
        patch_size=4,
        pos_emb_height=6,
        pos_emb_width=6,
        num_attention_heads=4,
        num_hidden_layers=2,
        hidden_size=48,
        intermediate_size=80,
    )
    text = dict(MLA, model_type="deepseek_v3")
    return with_vision(
        "Kimi_K25ForConditionalGeneration", "Kimi_K25Config", text, vision, projection_hidden_size=48
    )


def qwen3_5(moe=False):
    text = dict(
        num_hidden_layers=4,
        head_dim=24,
        linear_conv_kernel_dim=4,
        linear_key_head_dim=12,
        linear_value_head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        rope_parameters=dict(
            rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5, mrope_section=[2, 2, 2], mrope_interleaved=True
        ),
    )
    if moe:
        text |= dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40, shared_expert_intermediate_size=56)
    vision = dict(
        depth=2,
        hidden_size=48,
        intermediate_size=80,
        num_heads=4,
        patch_size=4,
        out_hidden_size=64,
        num_position_embeddings=36,
    )
    kind = "Qwen3_5Moe" if moe else "Qwen3_5"
    return with_vision(f"{kind}ForConditionalGeneration", f"{kind}Config", text, vision)


def muse_glimmer():
    text = dict(
        num_hidden_layers=5,
        head_dim=16,
        intermediate_size=3 * 64,
        sliding_window=8,
        # As torchtitan computes it of the head's size.
        qk_scale_factor=43.7840518911 / 16**0.5,
        output_multiplier=0.5,
        rope_parameters=dict(rope_type="default", rope_theta=5e5),
    )
    vision = dict(
        patch_size=4,
        pos_emb_height=4,
        pos_emb_width=4,
        num_attention_heads=4,
        num_hidden_layers=3,
        hidden_size=48,
        intermediate_size=96,
        max_position_embeddings=16,
    )
    return with_vision(
        "MuseGlimmerForConditionalGeneration",
        "MuseGlimmerConfig",
        text,
        vision,
        out_hidden_size=4 * 48,
        projector_hidden_size=72,
    )


def llama4():
    """Without norms of queries and keys and without temperatures, which torchtitan has not; sizes of `w1` are torchtitan's rule."""
    text = dict(
        num_hidden_layers=4,
        head_dim=16,
        intermediate_size=86,
        intermediate_size_mlp=170,
        num_local_experts=4,
        interleave_moe_layer_step=2,
        use_qk_norm=False,
        attn_temperature_tuning=False,
        no_rope_layers=[1] * 4,
    )
    vision = dict(
        hidden_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=192,
        vision_output_dim=48,
        projector_input_dim=48,
        projector_output_dim=48,
        image_size=28,
    )
    return with_vision("Llama4ForConditionalGeneration", "Llama4Config", text, vision)


FAMILIES = {
    "llama3": llama,
    "llama4": llama4,
    "llama3-tied": lambda: llama(num_key_value_heads=4, tie_word_embeddings=True),
    "qwen3": qwen3,
    "qwen3-tied": lambda: qwen3(tie_word_embeddings=True),
    "qwen3_moe": qwen3_moe,
    "deepseek_v3": lambda: deepseek_v3(n_group=4, topk_group=2),
    "deepseek_v3-q": lambda: deepseek_v3(q_lora_rank=None),
    "gpt_oss": gpt_oss,
    "kimi_k2": kimi,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": lambda: qwen3_5(moe=True),
    "muse_glimmer": muse_glimmer,
}
