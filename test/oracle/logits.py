"""Compares what a model of torchtitan, loaded from a checkpoint, says with what the `transformers` model says that it comes from."""

import torch
import torch.distributed.checkpoint as dcp
import transformers

import torchtitan_on_cpu

TOKENS = 40


@torch.no_grad()
def compare(job):
    reference = load_reference(job["model"])
    model = torchtitan_on_cpu.import_models().build(reference.config)
    load(model, job["checkpoint"])
    tokens, for_transformers, for_torchtitan = make_inputs(reference)
    expected = reference(tokens, **for_transformers).logits
    actual = run_torchtitan(model, tokens, for_torchtitan)
    return report(model, expected, actual)


def report(model, expected, actual):
    return {
        "difference": float((expected - actual).abs().max()),
        "spread": float(expected.std()),
        "finite": bool(expected.isfinite().all() and actual.isfinite().all()),
        "keys": len(model.state_dict()),
    }


def run_torchtitan(model, tokens, more):
    with torchtitan_on_cpu.forward_pass():
        if torchtitan_on_cpu.release() == "0.2":
            return model(tokens)
        positions = torch.arange(TOKENS)[None]
        return model(tokens, positions=positions, attention_masks=attention_masks(model, positions), **more)


def attention_masks(model, positions):
    masks = model.get_attention_masks(positions)
    # Linear attention of one document: without offsets it needs no kernel of variable lengths.
    return {**masks, "deltanet": None} if isinstance(masks, dict) and "deltanet" in masks else masks


def make_inputs(reference):
    """Tokens of one document, with a picture of 8 × 8 patches where the model sees any; further arguments of either model."""
    config = reference.config
    text = config.get_text_config()
    tokens = torch.arange(TOKENS)[None] * 37 % (text.vocab_size - 10)
    if config.model_type not in PIXELS:
        return tokens, {}, {}
    vision = config.vision_config
    grid = torch.tensor([[1, 8, 8]])
    depth = getattr(vision, "temporal_patch_size", getattr(vision, "patch_temporal", 1))
    patches = torch.randn(64, 3, depth, vision.patch_size, vision.patch_size, generator=torch.Generator().manual_seed(7))
    tokens[:, 5:21] = config.image_token_id
    for_torchtitan = dict(
        pixel_values=patches.flatten(1)[None],
        grid_thw=grid,
        special_tokens=dict(image_id=config.image_token_id, video_id=config.image_token_id),
    )
    for_transformers = dict(image_grid_thw=grid, **PIXELS[config.model_type](patches))
    if config.model_type.startswith("qwen3_5"):
        # transformers counts these positions itself, torchtitan's data loader hands them over.
        for_transformers["mm_token_type_ids"] = kinds = (tokens == config.image_token_id).int()
        for_torchtitan["mrope_positions"] = reference.model.get_rope_index(tokens, kinds, grid)[0].permute(1, 2, 0)
    return tokens, for_transformers, for_torchtitan


# How a model of transformers takes patches: [patch, channel, frame, row, column].
PIXELS = {
    "kimi_k25": lambda patches: dict(pixel_values=patches.flatten(1, 2)),
    "qwen3_5": lambda patches: dict(pixel_values=patches.flatten(1)),
    "qwen3_5_moe": lambda patches: dict(pixel_values=patches.flatten(1)),
    "muse_glimmer": lambda patches: dict(pixel_values=patches.transpose(1, 2).flatten(1)),
}


def load_reference(path):
    config = transformers.AutoConfig.from_pretrained(path)
    architecture = getattr(transformers, config.architectures[0])
    return architecture.from_pretrained(path, dtype=torch.float32, experts_implementation="eager").eval()


def load(model, checkpoint):
    """What the checkpoint does not fill stays NaN, and so do the logits."""
    state = {name: torch.full_like(value, torch.nan) for name, value in model.state_dict().items()}
    dcp.load(state, checkpoint_id=checkpoint, no_dist=True)
    model.load_state_dict(state, strict=True)
