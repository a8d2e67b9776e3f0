"""Tiny models of `transformers` whose forward pass feels every tensor.

Matrices keep the size of what goes through them, so that logits of a whole model are neither flat nor saturated; norms, biases
and buffers are moved away from the ones and zeros that a wrong map would not change.
"""

from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from tiny_families import FAMILIES
from tiny_others import OTHERS

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
