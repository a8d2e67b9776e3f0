"""As `logits.py`, for flux: the reference is diffusers' model, its answer is a picture's next step."""

import json
from pathlib import Path

import torch

import torchtitan_on_cpu
from logits import load, report
from tiny_models import draw_parameter

SIZES = dict(
    patch_size=1,
    in_channels=16,
    num_layers=2,
    num_single_layers=2,
    attention_head_dim=16,
    num_attention_heads=4,
    joint_attention_dim=32,
    pooled_projection_dim=24,
    guidance_embeds=False,
    axes_dims_rope=(4, 6, 6),
)


@torch.no_grad()
def save(job):
    """A pipeline of which only the transformer is there."""
    from diffusers import FluxTransformer2DModel

    directory = Path(job["directory"])
    model = FluxTransformer2DModel(**SIZES).eval()
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        draw_parameter(parameter, generator)
    model.save_pretrained(directory / "transformer")
    pipeline = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    (directory / "model_index.json").write_text(json.dumps(pipeline))
    return {}


@torch.no_grad()
def compare(job):
    from diffusers import FluxTransformer2DModel

    reference = FluxTransformer2DModel.from_pretrained(Path(job["model"]) / "transformer").eval()
    torchtitan_on_cpu.import_models()
    import torchtitan_flux

    model = torchtitan_flux.build(reference.config)
    load(model, job["checkpoint"])
    generator = torch.Generator().manual_seed(6)
    picture = torch.randn(2, 20, SIZES["in_channels"], generator=generator)
    text = torch.randn(2, 7, SIZES["joint_attention_dim"], generator=generator)
    vector = torch.randn(2, SIZES["pooled_projection_dim"], generator=generator)
    time = torch.tensor([0.3, 0.8])
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    places = torch.stack([torch.zeros(4, 5), rows, columns], -1).flatten(0, 1)
    words = torch.zeros(7, 3)
    expected = reference(picture, text, vector, time, img_ids=places, txt_ids=words).sample
    actual = model(picture, places.expand(2, -1, -1), text, words.expand(2, -1, -1), time, vector)
    return report(model, expected, actual)
