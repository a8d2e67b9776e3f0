"""Saves tiny models with Hugging Face `transformers` itself, in the shapes of torchtitan's debug flavors.

Most shapes come from the layouts torchtitan produced (test/fixtures/torchtitan-layouts): dim 256, 16 heads, vocab 2048.
Every weight is drawn from one seeded normal distribution, so that no two tensors or rows are alike.
"""

import json
import re
from pathlib import Path

import torch
import transformers
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from expected import layer_of

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


QWEN_TEXT = dict(
    vocab_size=248320,
    hidden_size=256,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=512,
    tie_word_embeddings=False,
)
QWEN_LINEAR = dict(
    linear_num_key_heads=2,
    linear_key_head_dim=64,
    linear_num_value_heads=4,
    linear_value_head_dim=64,
    linear_conv_kernel_dim=4,
)
QWEN_VISION = dict(
    hidden_size=256,
    intermediate_size=512,
    num_heads=4,
    num_position_embeddings=1024,
    out_hidden_size=256,
    patch_size=16,
    spatial_merge_size=2,
    temporal_patch_size=2,
)


def qwen3_5_moe():
    moe = dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=256, shared_expert_intermediate_size=256)
    return transformers.Qwen3_5MoeForConditionalGeneration, transformers.Qwen3_5MoeConfig(
        text_config=dict(QWEN_TEXT, **QWEN_LINEAR, **moe, num_hidden_layers=4),
        vision_config=dict(QWEN_VISION, depth=2),
        tie_word_embeddings=False,
    )


def qwen3_vl():
    """Tied, as the small ones are."""
    return transformers.Qwen3VLForConditionalGeneration, transformers.Qwen3VLConfig(
        text_config=dict(QWEN_TEXT, vocab_size=2048, num_hidden_layers=2, intermediate_size=512, tie_word_embeddings=True),
        vision_config=dict(QWEN_VISION, depth=3, deepstack_visual_indexes=[0, 2]),
        tie_word_embeddings=True,
    )


def qwen3_vl_moe():
    moe = dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=96)
    return transformers.Qwen3VLMoeForConditionalGeneration, transformers.Qwen3VLMoeConfig(
        text_config=dict(QWEN_TEXT, **moe, vocab_size=2048, num_hidden_layers=2, intermediate_size=512),
        vision_config=dict(QWEN_VISION, depth=2, deepstack_visual_indexes=[1]),
        tie_word_embeddings=False,
    )


def muse_glimmer():
    text = dict(COMMON, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=2, head_dim=64)
    vision = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, patch_size=14)
    return transformers.MuseGlimmerForConditionalGeneration, transformers.MuseGlimmerConfig(
        text_config=dict(text, intermediate_size=768, tie_word_embeddings=False),
        vision_config=dict(vision, pos_emb_height=2, pos_emb_width=2, patch_temporal=2, merge_size=2),
        out_hidden_size=256,
        projector_hidden_size=128,
        tie_word_embeddings=False,
    )


MODELS = {
    "qwen3_5-moe": (qwen3_5_moe, torch.bfloat16, "200MB"),
    "qwen3_vl": (qwen3_vl, torch.bfloat16, "4MB"),
    "qwen3_vl-moe": (qwen3_vl_moe, torch.bfloat16, "4MB"),
    "muse_glimmer": (muse_glimmer, torch.bfloat16, "4MB"),
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


FLUX_CONFIG = dict(
    _class_name="FluxTransformer2DModel",
    attention_head_dim=128,
    guidance_embeds=True,
    in_channels=64,
    joint_attention_dim=4096,
    num_attention_heads=12,
    num_layers=1,
    num_single_layers=1,
    out_channels=None,
    patch_size=1,
    pooled_projection_dim=768,
)


def make_flux(directory):
    """A pipeline as diffusers saves it: names and shapes are those that torchtitan's adapter reads, one block of each kind."""
    fixture = Path(__file__).parent.parent / "fixtures/torchtitan-adapters/flux__flux-debug.json"
    shapes = {name: shape for name, shape in json.loads(fixture.read_text())["source"].items() if layer_of(name) < 1}
    for number, width in ((1, 256), (2, 1536)):
        embedder = f"time_text_embed.guidance_embedder.linear_{number}"
        shapes |= {f"{embedder}.weight": [1536, width], f"{embedder}.bias": [1536]}
    generator = torch.Generator().manual_seed(7)
    tensors = {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in sorted(shapes.items())}
    model = directory / "transformer"
    model.mkdir(parents=True)
    classes = {"_class_name": "FluxPipeline", "transformer": ["diffusers", FLUX_CONFIG["_class_name"]]}
    (directory / "model_index.json").write_text(json.dumps(classes))
    (model / "config.json").write_text(json.dumps(FLUX_CONFIG))
    split = split_torch_state_dict_into_shards(
        tensors, max_shard_size="100MB", filename_pattern="diffusion_pytorch_model{suffix}.safetensors"
    )
    for file, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, model / file, metadata={"format": "pt"})
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    (model / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


FIXTURES = Path(__file__).parent.parent / "fixtures/torchtitan-adapters"
LATENT = dict(
    vocab_size=2048,
    hidden_size=256,
    num_hidden_layers=6,
    num_attention_heads=16,
    num_key_value_heads=16,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    intermediate_size=1024,
    moe_intermediate_size=256,
    n_routed_experts=8,
    n_shared_experts=2,
)
# The adapter's fixture has no experts.
GPT_OSS_EXPERTS = {
    "gate_up_proj": [8, 256, 5760],
    "gate_up_proj_bias": [8, 5760],
    "down_proj": [8, 2880, 256],
    "down_proj_bias": [8, 256],
}
# Name of the model: the fixture with its tensors, layers, and config.json.
OF_FIXTURES = {
    "deepseek_v3-fp8": (
        "deepseek_v3__debugmodel",
        6,
        # Rows and columns that end inside blocks.
        dict(LATENT, model_type="deepseek_v3", quantization_config=dict(quant_method="fp8", weight_block_size=[96, 80])),
    ),
    "kimi_k2": (
        "kimi_k2_7__debugmodel",
        6,
        dict(
            model_type="kimi_k25",
            text_config=dict(LATENT, model_type="deepseek_v3"),
            vision_config=dict(
                vt_hidden_size=256,
                vt_intermediate_size=512,
                vt_num_hidden_layers=4,
                vt_num_attention_heads=4,
                init_pos_emb_height=16,
                init_pos_emb_width=16,
            ),
        ),
    ),
    "gpt_oss-mxfp4": (
        "gpt_oss__debugmodel",
        2,
        dict(
            model_type="gpt_oss",
            vocab_size=2048,
            hidden_size=256,
            num_hidden_layers=2,
            num_attention_heads=64,
            num_key_value_heads=8,
            head_dim=64,
            intermediate_size=2880,
            num_local_experts=8,
            quantization_config=dict(quant_method="mxfp4"),
        ),
    ),
}


def make_of_fixture(name, directory):
    """A model with the names and shapes that torchtitan's adapter reads; quantised as `config.json` says."""
    fixture, layers, config = OF_FIXTURES[name]
    source = json.loads((FIXTURES / f"{fixture}.json").read_text())["source"]
    shapes = {name: shape for name, shape in source.items() if "vision" in name or layer_of(name) < layers}
    if config["model_type"] == "gpt_oss":
        for layer in range(layers):
            shapes |= {f"model.layers.{layer}.mlp.experts.{kind}": shape for kind, shape in GPT_OSS_EXPERTS.items()}
    generator = torch.Generator().manual_seed(11)
    method = config.get("quantization_config", {})
    tensors = {}
    for name, shape in sorted(shapes.items()):
        tensors |= draw_tensors(name, shape, method, generator)
    directory.mkdir(parents=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config))


def draw_tensors(name, shape, method, generator):
    kind = method.get("quant_method")
    if kind == "fp8" and re.search(r"_proj(_with_mqa)?\.weight$", name):
        grid = [-(-size // block) for size, block in zip(shape, method["weight_block_size"])]
        codes = (torch.randn(shape, generator=generator) * 100).clamp(-448, 448).to(torch.float8_e4m3fn)
        return {name: codes, f"{name}_scale_inv": torch.rand(grid, generator=generator) / 1000}
    if kind == "mxfp4" and name.endswith((".gate_up_proj", ".down_proj")):
        experts, columns, rows = shape
        groups = [experts, rows, columns // 32]
        blocks = torch.randint(0, 256, [*groups, 16], generator=generator, dtype=torch.uint8)
        scales = torch.randint(112, 130, groups, generator=generator, dtype=torch.uint8)
        return {f"{name}_blocks": blocks, f"{name}_scales": scales}
    tensor = torch.randn(shape, generator=generator)
    return {name: tensor if name.endswith("e_score_correction_bias") else tensor.bfloat16()}


def make_models(job):
    """Saves every model named in `job["names"]` under `job["directory"]`."""
    transformers.utils.logging.disable_progress_bar()
    for name in job["names"]:
        directory = Path(job["directory"]) / name
        if name == "flux":
            make_flux(directory)
        elif name in OF_FIXTURES:
            make_of_fixture(name, directory)
        else:
            make_model(name, directory)
    return {"transformers": transformers.__version__, "torch": torch.__version__}
