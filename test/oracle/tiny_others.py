"""Tiny models of architectures without a family, for trainers that take the names of `transformers`."""

from tiny_sizes import make, with_vision


def gemma3():
    text = dict(head_dim=16, sliding_window=16, query_pre_attn_scalar=16)
    vision = dict(
        hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    more = dict(mm_tokens_per_image=4, tie_word_embeddings=True)
    return with_vision("Gemma3ForConditionalGeneration", "Gemma3Config", text, vision, **more)


def qwen2_5_vl():
    vision = dict(
        depth=2,
        hidden_size=48,
        intermediate_size=96,
        num_heads=4,
        out_hidden_size=64,
        patch_size=4,
        fullatt_block_indexes=[1],
        window_size=16,
    )
    text = dict(rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[2, 3, 3]))
    return with_vision("Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLConfig", text, vision)


def qwen3_vl_moe():
    mrope = dict(rope_type="default", rope_theta=1e4, mrope_section=[4, 4, 4], mrope_interleaved=True)
    text = dict(head_dim=24, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40, rope_parameters=mrope)
    vision = dict(
        depth=2,
        hidden_size=48,
        intermediate_size=80,
        num_heads=4,
        patch_size=4,
        out_hidden_size=64,
        num_position_embeddings=36,
        deepstack_visual_indexes=[0],
    )
    return with_vision("Qwen3VLMoeForConditionalGeneration", "Qwen3VLMoeConfig", text, vision)


def glm4_moe():
    return make(
        "Glm4MoeForCausalLM",
        "Glm4MoeConfig",
        head_dim=16,
        num_hidden_layers=3,
        moe_intermediate_size=40,
        n_routed_experts=8,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        use_qk_norm=True,
        attention_bias=True,
    )


OTHERS = {
    "mistral": lambda: make("MistralForCausalLM", "MistralConfig", head_dim=16),
    "mixtral": lambda: make("MixtralForCausalLM", "MixtralConfig", head_dim=16, num_local_experts=4),
    "gemma3": gemma3,
    "phi": lambda: make("PhiForCausalLM", "PhiConfig", num_key_value_heads=4),
    "phi3": lambda: make("Phi3ForCausalLM", "Phi3Config"),
    "glm4_moe": glm4_moe,
    "olmo2": lambda: make("Olmo2ForCausalLM", "Olmo2Config"),
    "olmo3": lambda: make("Olmo3ForCausalLM", "Olmo3Config"),
    "granite": lambda: make("GraniteForCausalLM", "GraniteConfig", embedding_multiplier=3.0, logits_scaling=2.0),
    "smollm3": lambda: make("SmolLM3ForCausalLM", "SmolLM3Config", tie_word_embeddings=True),
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl_moe": qwen3_vl_moe,
    "olmoe": lambda: make("OlmoeForCausalLM", "OlmoeConfig", num_experts=4, num_experts_per_tok=2),
    "qwen2_moe": lambda: make(
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=40,
        shared_expert_intermediate_size=56,
    ),
}
