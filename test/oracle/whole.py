"""Reads a checkpoint without any mesh: torch's own single-process conversion to one `torch.save` file."""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from load_dtensor import same_bits


def compare_state(state, expected, nan_payload_matters=True):
    different = [key for key in expected if key in state and not equal(state[key], expected[key], nan_payload_matters)]
    return {
        "keys": len(state),
        "missing": sorted(set(expected) - set(state)),
        "extra": sorted(set(state) - set(expected)),
        "mismatched": different,
        "dtypes": sorted({str(tensor.dtype) for tensor in state.values()}),
        "nanPatterns": sorted({pattern for tensor in state.values() for pattern in nan_patterns(tensor)})[:8],
    }


def nan_patterns(tensor):
    """The distinct bit patterns of a tensor's NaNs, in hexadecimal."""
    bits = tensor[tensor.isnan()].view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])
    width = 8 * tensor.element_size()
    return [f"{value & (1 << width) - 1:0{width // 4}x}" for value in bits.unique().tolist()]


def equal(a, b, nan_payload_matters):
    if nan_payload_matters or a.dtype != b.dtype or a.shape != b.shape:
        return same_bits(a, b)
    nan = b.isnan()
    return torch.equal(a.isnan(), nan) and same_bits(a.masked_fill(nan, 0), b.masked_fill(nan, 0))


def flatten(state, prefix=""):
    for name, value in state.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def load_whole(job):
    """`dcp_to_torch_save`, then every tensor against the expected file."""
    with tempfile.TemporaryDirectory(prefix="oracle-whole-") as folder:
        file = Path(folder) / "whole.pt"
        dcp_to_torch_save(job["checkpoint"], file)
        state = dict(flatten(torch.load(file, weights_only=True)))
    return compare_state(state, load_file(job["expected"]), job.get("nan") != "any")
