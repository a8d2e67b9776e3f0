"""torchtitan's models in the sizes of a `config.json`, built of the pieces that its own flavors are built of."""

import dataclasses

from torchtitan.models import deepseek_v3 as _deepseek
from torchtitan.models import gpt_oss as _gpt_oss
from torchtitan.models import kimi_k2_7 as _kimi
from torchtitan.models import llama3 as _llama3
from torchtitan.models import muse_glimmer as _muse
from torchtitan.models import qwen3 as _qwen3
from torchtitan.models import qwen3_5 as _qwen3_5
from torchtitan.models.common import ComplexRoPE, CosSinRoPE, Embedding, Linear, RMSNorm


def decoder(config, **parts):
    """What every decoder has, for its `Config`."""
    dim, vocabulary = config.hidden_size, config.vocab_size
    return dict(
        dict(
            dim=dim,
            vocab_size=vocabulary,
            tok_embeddings=Embedding.Config(num_embeddings=vocabulary, embedding_dim=dim),
            norm=RMSNorm.Config(normalized_shape=dim),
            lm_head=Linear.Config(in_features=dim, out_features=vocabulary),
        ),
        **parts,
    )


def rope(kind, config, dim, **more):
    theta = config.rope_parameters["rope_theta"]
    return kind.Config(dim=dim, max_seq_len=config.max_position_embeddings, theta=theta, **more)


def sizes(config, **more):
    return dict(n_layers=config.num_hidden_layers, dim=config.hidden_size, attn_backend="flex", **more)


def heads(config):
    return dict(n_heads=config.num_attention_heads, n_kv_heads=config.num_key_value_heads)


def llama3(config):
    layers = _llama3._build_llama3_layers(
        **sizes(config),
        **heads(config),
        hidden_dim=config.intermediate_size,
        rope=rope(ComplexRoPE, config, config.head_dim),
    )
    return _llama3.Llama3Model.Config(**decoder(config, layers=layers, enable_weight_tying=config.tie_word_embeddings))


def qwen3(config):
    common = dict(
        **sizes(config),
        **heads(config),
        head_dim=config.head_dim,
        rope=rope(CosSinRoPE, config, config.head_dim),
    )
    if config.model_type == "qwen3_moe":
        layers = _qwen3._build_qwen3_moe_layers(
            **common,
            moe_hidden_dim=config.moe_intermediate_size,
            num_experts=config.num_experts,
            top_k=config.num_experts_per_tok,
            moe_comm_backend="standard",
        )
    else:
        layers = _qwen3._build_qwen3_layers(**common, hidden_dim=config.intermediate_size)
    return _qwen3.Qwen3Model.Config(**decoder(config, layers=layers, enable_weight_tying=config.tie_word_embeddings))


def latent_layers(build, config):
    """Layers of DeepSeek-V3 and Kimi."""
    is_grouped = config.n_group > 1
    return build(
        **sizes(config),
        n_dense_layers=config.first_k_dense_replace,
        n_heads=config.num_attention_heads,
        q_lora_rank=config.q_lora_rank or 0,
        kv_lora_rank=config.kv_lora_rank,
        qk_nope_head_dim=config.qk_nope_head_dim,
        qk_rope_head_dim=config.qk_rope_head_dim,
        v_head_dim=config.v_head_dim,
        mscale=1.0,
        dense_hidden_dim=config.intermediate_size,
        moe_hidden_dim=config.moe_intermediate_size,
        num_experts=config.n_routed_experts,
        num_shared_experts=config.n_shared_experts,
        router_top_k=config.num_experts_per_tok,
        router_score_func="sigmoid",
        router_num_expert_groups=config.n_group if is_grouped else None,
        router_num_limited_groups=config.topk_group if is_grouped else None,
        router_route_scale=config.routed_scaling_factor,
        router_route_norm=config.norm_topk_prob,
        moe_comm_backend="standard",
        non_blocking_capacity_factor=None,
        rope=rope(ComplexRoPE, config, config.qk_rope_head_dim),
    )


def deepseek_v3(config, mtp=0):
    layers = latent_layers(_deepseek._build_dsv3_layers, config)
    more = _deepseek._build_mtp_layers(layers[-1], dim=config.hidden_size, num_mtp_layers=mtp)
    return _deepseek.DeepSeekV3Model.Config(**decoder(config, layers=layers, mtp_layers=more))


def kimi(config):
    text, vision = config.text_config, config.vision_config
    encoder = _kimi._vision_encoder_config(
        dim=vision.hidden_size,
        ffn_dim=vision.intermediate_size,
        num_layers=vision.num_hidden_layers,
        num_heads=vision.num_attention_heads,
        patch_size=vision.patch_size,
        init_pos_emb_height=vision.pos_emb_height,
        init_pos_emb_width=vision.pos_emb_width,
        rope_theta=vision.rope_parameters["rope_theta"],
        text_hidden_size=text.hidden_size,
    )
    layers = latent_layers(_kimi._build_kimi_layers, text)
    return _kimi.KimiK25Model.Config(**decoder(text, layers=layers, vision_encoder=encoder))


def gpt_oss(config):
    """Heads, their sizes and the window are written down in torchtitan's layers."""
    scaling = config.rope_parameters
    layers = _gpt_oss._build_gptoss_layers(
        **sizes(config),
        hidden_dim=config.intermediate_size,
        num_experts=config.num_local_experts,
        top_k=config.num_experts_per_tok,
        load_balance_coeff=1e-3,
        moe_comm_backend="standard",
        rope=rope(
            CosSinRoPE,
            config,
            config.head_dim,
            scaling="yarn",
            rope_factor=scaling["factor"],
            beta_fast=scaling["beta_fast"],
            beta_slow=scaling["beta_slow"],
            truncate=scaling["truncate"],
            original_seq_len=scaling["original_max_position_embeddings"],
        ),
    )
    return _gpt_oss.GptOssModel.Config(**decoder(config, layers=layers))


def qwen3_5(config):
    text, vision = config.text_config, config.vision_config
    rotary = int(text.head_dim * text.rope_parameters["partial_rotary_factor"])
    common = dict(
        **sizes(text),
        **heads(text),
        head_dim=text.head_dim,
        rotary_dim=rotary,
        rope=rope(_qwen3_5.MRoPE, text, rotary, mrope_section=text.rope_parameters["mrope_section"]),
        n_key_heads=text.linear_num_key_heads,
        n_value_heads=text.linear_num_value_heads,
        key_head_dim=text.linear_key_head_dim,
        value_head_dim=text.linear_value_head_dim,
    )
    if config.model_type == "qwen3_5_moe":
        layers = _qwen3_5._build_qwen35_moe_layers(
            **common,
            moe_hidden_dim=text.moe_intermediate_size,
            num_experts=text.num_experts,
            top_k=text.num_experts_per_tok,
            shared_expert_hidden_dim=text.shared_expert_intermediate_size,
        )
    else:
        layers = _qwen3_5._build_qwen35_layers(**common, hidden_dim=text.intermediate_size)
    encoder = _qwen3_5._qwen35_vision_encoder_config(
        dim=vision.hidden_size,
        ffn_dim=vision.intermediate_size,
        num_layers=vision.depth,
        num_heads=vision.num_heads,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        spatial_merge_size=vision.spatial_merge_size,
        out_hidden_size=vision.out_hidden_size,
        num_position_embeddings=vision.num_position_embeddings,
    )
    # As in transformers; torchtitan's flavors approximate it.
    encoder.merger.act_fn.approximate = "none"
    norm = _qwen3_5._offset_norm(text.hidden_size)
    return _qwen3_5.Qwen35Model.Config(**decoder(text, layers=layers, norm=norm, vision_encoder=encoder))


def muse_glimmer(config):
    text, vision = config.text_config, config.vision_config
    encoder = _muse.muse_glimmer_vision_encoder_config(
        latent_dim=vision.hidden_size,
        num_layers=vision.num_hidden_layers,
        num_heads=vision.num_attention_heads,
        mlp_ratio=vision.intermediate_size / vision.hidden_size,
        patch_size=vision.patch_size,
        patch_temporal=vision.patch_temporal,
        downsample_factor=vision.merge_size,
        pos_emb_grid_h=vision.pos_emb_height,
        pos_emb_grid_w=vision.pos_emb_width,
        rope_theta=vision.rope_parameters["rope_theta"],
    )
    adapter = _muse.muse_glimmer_vision_adapter_config(
        input_dim=encoder.output_dim, output_dim=config.projector_hidden_size
    )
    return _muse._muse_glimmer_config(
        **sizes(text),
        **heads(text),
        head_dim=text.head_dim,
        vocab_size=text.vocab_size,
        max_seq_len=text.max_position_embeddings,
        window_pattern=[text.sliding_window] * 3 + [0],
        output_multiplier=text.output_multiplier,
        vision_adapter_dim=config.projector_hidden_size,
        vision_encoder=encoder,
        vision_adapter=adapter,
    )


BY_MODEL_TYPE = {
    "llama": llama3,
    "qwen3": qwen3,
    "qwen3_moe": qwen3,
    "deepseek_v3": deepseek_v3,
    "kimi_k25": kimi,
    "gpt_oss": gpt_oss,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5,
    "muse_glimmer": muse_glimmer,
}


def set_eps(part, eps):
    """Norms are as exact as `config.json` says; a flavor writes this number down."""
    if type(part) is RMSNorm.Config:
        part.eps = eps
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            set_eps(getattr(part, field.name), eps)
    elif isinstance(part, list):
        for item in part:
            set_eps(item, eps)


def build(config, **parts):
    titan = BY_MODEL_TYPE[config.model_type](config, **parts)
    set_eps(titan, config.get_text_config().rms_norm_eps)
    return titan.build().eval()
