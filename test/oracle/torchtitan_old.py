"""Models of torchtitan 0.2 in the sizes of a `config.json`: llama4, and what the names of its time are worth for others."""

from torchtitan.models import deepseek_v3 as _deepseek
from torchtitan.models import llama3 as _llama3
from torchtitan.models import llama4 as _llama4
from torchtitan.models import qwen3 as _qwen3
from torchtitan.models.llama3.model.args import RoPEScalingArgs
from torchtitan.models.moe import MoEArgs


def sizes(config):
    return dict(
        dim=config.hidden_size,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        vocab_size=config.vocab_size,
        norm_eps=config.rms_norm_eps,
        rope_theta=config.rope_parameters["rope_theta"],
        max_seq_len=config.max_position_embeddings,
    )


def experts(**fields):
    """With the loop over experts, in the dtype of the weights."""
    return MoEArgs(use_grouped_mm=False, **fields)


def llama3(config):
    unscaled = config.hidden_size * 8 // 3
    arguments = _llama3.TransformerModelArgs(
        **sizes(config),
        n_kv_heads=config.num_key_value_heads,
        multiple_of=1,
        ffn_dim_multiplier=(config.intermediate_size + 0.5) / unscaled,
        rope_scaling_args=RoPEScalingArgs(scaling_factor=1.0),
    )
    return _llama3.Transformer(arguments)


def llama4(config):
    text = config.get_text_config()
    arguments = _llama4.TransformerModelArgs(
        **sizes(text),
        n_kv_heads=text.num_key_value_heads,
        multiple_of=2,
        interleave_moe_layer_step=text.interleave_moe_layer_step,
        moe_args=experts(num_experts=text.num_local_experts),
    )
    return _llama4.Transformer(arguments)


def qwen3(config):
    more = {}
    if config.model_type == "qwen3_moe":
        moe = experts(
            num_experts=config.num_experts,
            num_shared_experts=0,
            top_k=config.num_experts_per_tok,
            score_func="softmax",
            route_norm=True,
            score_before_experts=False,
        )
        more = dict(moe_enabled=True, moe_inter_dim=config.moe_intermediate_size, moe_args=moe)
    arguments = _qwen3.Qwen3ModelArgs(
        **sizes(config),
        n_kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        hidden_dim=config.intermediate_size,
        enable_weight_tying=config.tie_word_embeddings,
        **more,
    )
    return _qwen3.Qwen3Model(arguments)


def deepseek_v3(config):
    is_grouped = config.n_group > 1
    moe = experts(
        num_experts=config.n_routed_experts,
        num_shared_experts=config.n_shared_experts,
        top_k=config.num_experts_per_tok,
        score_func="sigmoid",
        route_norm=config.norm_topk_prob,
        route_scale=config.routed_scaling_factor,
        score_before_experts=False,
        num_expert_groups=config.n_group if is_grouped else None,
        num_limited_groups=config.topk_group if is_grouped else None,
    )
    arguments = _deepseek.DeepSeekV3ModelArgs(
        **sizes(config),
        inter_dim=config.intermediate_size,
        moe_inter_dim=config.moe_intermediate_size,
        n_dense_layers=config.first_k_dense_replace,
        moe_args=moe,
        q_lora_rank=config.q_lora_rank or 0,
        kv_lora_rank=config.kv_lora_rank,
        qk_nope_head_dim=config.qk_nope_head_dim,
        qk_rope_head_dim=config.qk_rope_head_dim,
        v_head_dim=config.v_head_dim,
    )
    # A run's configuration sets it.
    arguments.moe_impl = "standard"
    return _deepseek.DeepSeekV3Model(arguments)


BY_MODEL_TYPE = {
    "llama": llama3,
    "llama4": llama4,
    "qwen3": qwen3,
    "qwen3_moe": qwen3,
    "deepseek_v3": deepseek_v3,
}


def build(config):
    return BY_MODEL_TYPE[config.model_type](config).eval()
