"""Saves tiny models with Hugging Face `transformers` itself, in the shapes of torchtitan's debug flavors.

Most shapes come from the layouts torchtitan produced (test/fixtures/torchtitan-layouts): dim 256, 16 heads, vocab 2048.
Every weight is drawn from one seeded normal distribution, so that no two tensors or rows are alike.
"""

from pathlib import Path

import torch
import transformers

COMMON = dict(
    vocab_size=2048,
    hidden_size=256,
    num_attention_heads=16,
    max_position_embeddings=512,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
LLAMA4_TEXT = dict(
    COMMON,
    num_hidden_layers=6,
    num_key_value_heads=16,
    head_dim=16,
    intermediate_size=512,
    intermediate_size_mlp=768,
    num_local_experts=8,
    num_experts_per_tok=1,
    interleave_moe_layer_step=2,
    tie_word_embeddings=False,
)
LLAMA4_VISION = dict(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=256,
    vision_output_dim=64,
    projector_input_dim=64,
    projector_output_dim=64,
    image_size=28,
    patch_size=14,
)


def llama(layers):
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(
        **COMMON, num_hidden_layers=layers, num_key_value_heads=16, intermediate_size=768, tie_word_embeddings=False
    )


def llama_gqa():
    """As the small Llama 3.2 models: fewer key-value heads, one tensor for embedding and head; and an odd head size."""
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(
        **COMMON,
        num_hidden_layers=2,
        num_key_value_heads=4,
        head_dim=24,
        intermediate_size=768,
        tie_word_embeddings=True,
    )


def llama4():
    return transformers.Llama4ForConditionalGeneration, transformers.Llama4Config(
        text_config=LLAMA4_TEXT, vision_config=LLAMA4_VISION, tie_word_embeddings=False
    )


def llama4_text():
    return transformers.Llama4ForCausalLM, transformers.Llama4TextConfig(**LLAMA4_TEXT)


def qwen3():
    return transformers.Qwen3ForCausalLM, transformers.Qwen3Config(
        **COMMON,
        num_hidden_layers=8,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        tie_word_embeddings=True,
    )


def qwen3_moe():
    return transformers.Qwen3MoeForCausalLM, transformers.Qwen3MoeConfig(
        **COMMON,
        num_hidden_layers=2,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        moe_intermediate_size=768,
        num_experts=64,
        num_experts_per_tok=8,
        tie_word_embeddings=False,
    )


MODELS = {
    "llama": (lambda: llama(6), torch.bfloat16, "3MB"),
    # Every bit pattern is possible in these: infinities, NaNs, subnormals, values a narrower dtype cannot hold.
    "bits-f32": (lambda: llama(2), torch.float32, "3MB"),
    "bits-bf16": (lambda: llama(2), torch.bfloat16, "3MB"),
    "bits-f16": (lambda: llama(2), torch.float16, "3MB"),
    "llama-gqa": (llama_gqa, torch.bfloat16, "1MB"),
    "llama4": (llama4, torch.bfloat16, "8MB"),
    "llama4-text": (llama4_text, torch.float32, "16MB"),
    "qwen3": (qwen3, torch.bfloat16, "16MB"),
    "qwen3-moe": (qwen3_moe, torch.bfloat16, "50MB"),
}


def draw_bits(parameter, generator):
    raw = parameter.data.view(torch.uint8)
    raw.copy_(torch.randint(0, 256, raw.shape, generator=generator, dtype=torch.uint8))


@torch.no_grad()
def make_model(name, directory):
    build, dtype, max_shard_size = MODELS[name]
    architecture, config = build()
    config.dtype = dtype
    with torch.device("meta"):
        model = architecture(config).to(dtype)
    model.to_empty(device="cpu")
    model.tie_weights()
    generator = torch.Generator().manual_seed(sum(name.encode()))
    for parameter in model.parameters():
        if name.startswith("bits-"):
            draw_bits(parameter, generator)
        else:
            parameter.normal_(generator=generator)
    model.save_pretrained(directory, max_shard_size=max_shard_size)


def make_models(job):
    """Saves every model named in `job["names"]` under `job["directory"]`."""
    transformers.utils.logging.disable_progress_bar()
    for name in job["names"]:
        make_model(name, Path(job["directory"]) / name)
    return {"transformers": transformers.__version__, "torch": torch.__version__}
