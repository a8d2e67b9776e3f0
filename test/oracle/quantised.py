"""Quantised weights as torch and transformers dequantise them, compared with files of what this program makes of the same."""

import json
import os

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch.distributed.checkpoint.quantized_hf_storage import QuantizedHuggingFaceStorageReader

CANONICAL = {"float32": 0x7FC00000, "bfloat16": 0x7FC0, "float16": 0x7E00}


def read(path, dtype):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=dtype)


def compare(ours, theirs):
    """Bits of all that is not a NaN; a NaN of theirs is the one pattern there is in ours. `different` names the first few places."""
    theirs = theirs.contiguous().flatten()
    integers = torch.int32 if theirs.element_size() == 4 else torch.int16
    name = str(theirs.dtype).removeprefix("torch.")
    is_nan = theirs.isnan()
    wanted = torch.where(is_nan, CANONICAL[name], theirs.view(integers))
    found = read(ours, integers)
    if found.numel() != wanted.numel():
        raise ValueError(f"{found.numel()} elements, not {wanted.numel()}")
    different = (found != wanted).nonzero().flatten()[:10]
    return {
        "compared": wanted.numel(),
        "nans": int(is_nan.sum()),
        "different": [f"{i}: {found[i]:x}, not {wanted[i]:x}" for i in different.tolist()],
    }


def products(job):
    """Every code of an 8-bit float times every scale of a file."""
    codes = torch.arange(256, dtype=torch.uint8).view(getattr(torch, job["codec"]))
    scales = read(job["scales"], getattr(torch, job["scale_dtype"]))
    values = codes.to(torch.float32) * scales.to(torch.float32)[:, None]
    return compare(job["ours"], values.to(getattr(torch, job["dtype"])))


def mxfp4(job):
    """transformers' own function, which transposes the last two axes."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    scales = read(job["scales"], torch.uint8).view(job["shape"])
    blocks = read(job["blocks"], torch.uint8).view(*job["shape"], 16)
    return compare(job["ours"], convert_moe_packed_tensors(blocks, scales, dtype=getattr(torch, job["dtype"])))


def save(folder, tensors):
    save_file(tensors, os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"weight_map": dict.fromkeys(tensors, "model.safetensors")}, file)


def write_fp8(job):
    """A folder of one FP8 weight with a scale for each block of 128 × 128."""
    torch.manual_seed(1)
    rows, columns = job["shape"]
    weight = (torch.randn(rows, columns) * 100).to(torch.float8_e4m3fn)
    scales = torch.rand(-(-rows // 128), -(-columns // 128)) * 1e-3
    os.makedirs(job["folder"])
    save(job["folder"], {"w.weight": weight, "w.weight_scale_inv": scales})
    return None


def read_fp8(job):
    """What torch's own reader loads of a part of it; and transformers, which takes no blocks that are cut off, of the same part."""
    dtype = getattr(torch, job["dtype"])
    reader = QuantizedHuggingFaceStorageReader(job["folder"], target_dtype=dtype)
    loaded = {"w.weight": torch.full(job["shape"], -1, dtype=dtype)}
    dcp.load(loaded, storage_reader=reader, no_dist=True)
    report = compare(job["ours"], loaded["w.weight"])
    if job["has_whole_blocks"]:
        report["transformers"] = compare(job["ours"], by_transformers(job["folder"], dtype))
    return report


def by_transformers(folder, dtype):
    from safetensors.torch import load_file
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    tensors = load_file(os.path.join(folder, "model.safetensors"))
    dequantise = Fp8Dequantize(None)._dequantize_one
    return dequantise(tensors["w.weight"], tensors["w.weight_scale_inv"], dtype)


def read_mxfp4(job):
    """How many elements of each row torch's own reader writes, from the first on; none of them is the one that was there."""
    experts, rows, groups = job["shape"]
    blocks = torch.full((experts, rows, groups, 16), 0x22, dtype=torch.uint8)
    save(job["folder"], {"w_blocks": blocks, "w_scales": torch.full(job["shape"], 127, dtype=torch.uint8)})
    loaded = {"w_blocks": torch.full((experts, rows, groups * 32), -1.0)}
    reader = QuantizedHuggingFaceStorageReader(job["folder"])
    dcp.load(loaded, storage_reader=reader, no_dist=True)
    written = (loaded["w_blocks"] == 1).flatten(0, 1)
    per_row = written.sum(dim=1).tolist()
    first = all(row[:count].all().item() for row, count in zip(written, per_row))
    return {"per_row": per_row, "first": first}
