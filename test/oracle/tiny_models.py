"""Tiny models of `transformers` whose forward pass feels every tensor.

Matrices keep the size of what goes through them, so that logits of a whole model are neither flat nor saturated; norms, biases
and buffers are moved away from the ones and zeros that a wrong map would not change.
"""

from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

SMALL = dict(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
    tie_word_embeddings=False,
)


def make(name, config, **changes):
    """A class of `transformers` by name, and its configuration: `SMALL` with `changes`."""
    return getattr(transformers, name), getattr(transformers, config)(**{**SMALL, **changes})


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


def with_vision(name, config, text, vision, **changes):
    """A model of text and images; `text` and `vision` are the configurations of its halves."""
    tokens = dict(image_token_id=250, video_token_id=251, vision_start_token_id=252, vision_end_token_id=253)
    fields = {**tokens, "tie_word_embeddings": False, **changes}
    known = getattr(transformers, config)
    fields = {key: value for key, value in fields.items() if hasattr(known, key)}
    return getattr(transformers, name), known(text_config={**SMALL, **text}, vision_config=vision, **fields)


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


# Architectures without a family, for trainers that take the names of transformers.
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

MODELS = {**FAMILIES, **OTHERS}


def draw_parameter(parameter, generator):
    noise = torch.randn(parameter.shape, generator=generator)
    if parameter.ndim < 2:
        parameter.add_(0.3 * noise)
    else:
        parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)


@torch.no_grad()
def build(name):
    """The model in float32, the same at every call."""
    architecture, config = MODELS[name]()
    config.dtype = torch.float32
    seed = sum(name.encode())
    torch.manual_seed(seed)
    model = architecture(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        draw_parameter(parameter, generator)
    model.get_input_embeddings().weight.normal_(generator=generator)
    for key, buffer in model.named_buffers():
        if key.endswith("e_score_correction_bias"):
            buffer.add_(0.1 * torch.randn(buffer.shape, generator=generator))
    return model


# What `save_pretrained` of transformers 5.23 calls otherwise than the Hub's files, which it reads. The parts of its map do not
# undo one another.
HUB_NAMES = {
    "gemma3": [("vision_tower.", "vision_tower.vision_model.")],
    "kimi_k2": [
        ("language_model.model.blocks.", "language_model.model.layers."),
        ("model.mm_projector.", "mm_projector."),
        ("vision_tower.encoder.patch_embed.", "vision_tower.patch_embed."),
    ],
}


def rename(path, pairs):
    tensors = load_file(path)
    for before, after in pairs:
        assert any(name.startswith(before) for name in tensors), f"{path} has no {before}"
        tensors = {
            after + name.removeprefix(before) if name.startswith(before) else name: tensor
            for name, tensor in tensors.items()
        }
    save_file(tensors, path, metadata={"format": "pt"})


def save(job):
    """Saves the models `job["names"]` under `job["directory"]`, as `save_pretrained` writes them with `job["options"]`."""
    transformers.utils.logging.disable_progress_bar()
    for name in job["names"]:
        directory = Path(job["directory"]) / name
        options = job.get("options", {})
        build(name).save_pretrained(directory, **options)
        if options.get("save_original_format", True):
            rename(directory / "model.safetensors", HUB_NAMES.get(name, []))
    return {"transformers": transformers.__version__, "torch": torch.__version__}
