"""Quantises tiny models as their publishers do: FP8 in blocks (DeepSeek, Qwen), MXFP4 (gpt-oss).

Beside every quantised model lies the one that its numbers mean, in float32. The formats are written down here by themselves:
transformers reads the second, and knows nothing of the first.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

BLOCK = (16, 24)
FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def blocks_of(scales, shape):
    """Each block's scale for each of its elements."""
    rows, columns = BLOCK
    return scales.repeat_interleave(rows, 0)[: shape[0]].repeat_interleave(columns, 1)[:, : shape[1]]


def fp8(weight):
    """Codes, scales of blocks that may end early, and the float32 product."""
    rows, columns = (-(-size // block) for size, block in zip(weight.shape, BLOCK))
    padded = torch.zeros(rows * BLOCK[0], columns * BLOCK[1])
    padded[: weight.shape[0], : weight.shape[1]] = weight
    largest = padded.view(rows, BLOCK[0], columns, BLOCK[1]).abs().amax((1, 3))
    scales = largest / 448
    codes = (weight / blocks_of(scales, weight.shape)).to(torch.float8_e4m3fn)
    return codes, scales, codes.float() * blocks_of(scales, weight.shape)


def mxfp4(weight):
    """Of `[experts, in, out]`: packed codes and exponents of `[experts, out, in]` by groups of 32, and what they mean, as `weight`."""
    groups = weight.transpose(1, 2).unflatten(-1, (-1, 32))
    exponents = (groups.abs().amax(-1).log2().floor() - 2).to(torch.int32)
    scaled = groups / torch.exp2(exponents.float())[..., None]
    codes = (scaled[..., None] - FP4).abs().argmin(-1).to(torch.uint8)
    packed = codes[..., 0::2] | codes[..., 1::2] << 4
    means = FP4[codes.long()] * torch.exp2(exponents.float())[..., None]
    return packed, (exponents + 127).to(torch.uint8), means.flatten(-2).transpose(1, 2).contiguous()


def quantise_fp8(tensors):
    quantised, meant = {}, {}
    for name, weight in tensors.items():
        quantised[name] = meant[name] = weight
        if name.endswith("_proj.weight") and weight.ndim == 2:
            quantised[name], quantised[f"{name}_scale_inv"], meant[name] = fp8(weight)
    return quantised, meant


def quantise_mxfp4(tensors):
    quantised, meant = {}, {}
    for name, weight in tensors.items():
        if name.endswith((".gate_up_proj", ".down_proj")):
            quantised[f"{name}_blocks"], quantised[f"{name}_scales"], meant[name] = mxfp4(weight)
        else:
            quantised[name] = meant[name] = weight
    return quantised, meant


METHODS = {
    "fp8": (quantise_fp8, {"weight_block_size": list(BLOCK), "activation_scheme": "dynamic", "fmt": "e4m3"}),
    "mxfp4": (quantise_mxfp4, {"modules_to_not_convert": ["lm_head"]}),
}


def quantise(job):
    """Of `job["model"]`, makes the quantised `job["quantised"]` and what it means, `job["meant"]`."""
    quantise_tensors, details = METHODS[job["method"]]
    source = Path(job["model"])
    quantised, meant = quantise_tensors(load_file(source / "model.safetensors"))
    assert quantised.keys() != meant.keys(), "nothing was quantised"
    config = json.loads((source / "config.json").read_text())
    with_method = {**config, "quantization_config": {"quant_method": job["method"], **details}}
    for path, tensors, of in ((job["quantised"], quantised, with_method), (job["meant"], meant, config)):
        shutil.copytree(source, path)
        save_file(tensors, Path(path) / "model.safetensors", metadata={"format": "pt"})
        (Path(path) / "config.json").write_text(json.dumps(of))
    return {}
