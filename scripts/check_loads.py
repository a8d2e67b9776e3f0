"""Loads a whole checkpoint with torch's own reader, whatever its layout, and says how much it held."""

import sys
import tempfile
from pathlib import Path

import torch
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save


def main(directory):
    stored = FileSystemReader(directory).read_metadata().state_dict_metadata
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "whole.pt"
        dcp_to_torch_save(directory, file)
        state = torch.load(file, weights_only=True)
    for key, described in stored.items():
        assert state[key].shape == described.size, f"{key}: {state[key].shape} is not {described.size}"
        assert state[key].isfinite().all(), f"{key} has values that are not finite"
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    print(f"torch {torch.__version__} loaded {len(state)} tensors, {total} bytes")


main(sys.argv[1])
