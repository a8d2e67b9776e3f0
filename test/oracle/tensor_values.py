"""What torch says of tensors: statistics in float64, and the text of print().

In: JSON on stdin: [{"path": a safetensors file or a DCP directory, "cases": [[name, index or null, precision], ...]}, ...].
Out: a list of one object per case, for every path. Integers beyond 2^53 are strings, and so are floats that are not finite, as in JavaScript.
"""

import json
import math
import struct
import sys

import torch

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


def read_safetensors(path):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, facts in header.items():
        begin, end = (8 + length + place for place in facts["data_offsets"])
        own = torch.frombuffer(bytearray(data[begin:end] or b"\0"), dtype=torch.uint8)[: end - begin]
        tensors[name] = own.view(getattr(torch, DTYPES[facts["dtype"]])).reshape(facts["shape"])
    return tensors


def read_checkpoint(path):
    import tempfile

    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    def flat(prefix, value):
        if isinstance(value, torch.Tensor):
            return {prefix: value}
        if not isinstance(value, (dict, list, tuple)):
            return {}
        children = value.items() if isinstance(value, dict) else enumerate(value)
        pairs = [flat(f"{prefix}.{key}" if prefix else str(key), child) for key, child in children]
        return {name: tensor for pair in pairs for name, tensor in pair.items()}

    with tempfile.NamedTemporaryFile() as file:
        dcp_to_torch_save(path, file.name)
        return flat("", torch.load(file.name, weights_only=False))


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, int) and abs(value) > 2**53 - 1:
        return str(value)
    return value


def in_float64(tensor):
    if tensor.is_complex():
        wide = tensor.to(torch.complex128)
        return torch.where(wide.isnan(), torch.nan, wide.abs())
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1:
        return tensor.float().double()
    return tensor.double()


def statistics(tensor):
    values = in_float64(tensor).reshape(-1)
    real = values[~values.isnan()]
    finite = real[~real.isinf()]
    result = {
        "elements": values.numel(),
        "nan": int(values.isnan().sum()),
        "inf": int(values.isinf().sum()),
        "zeros": int((values == 0).sum()),
        "min": None, "max": None, "mean": None, "std": None,
    }  # fmt: skip
    if real.numel() > 0:
        exact = tensor.reshape(-1).tolist() if tensor.dtype in (torch.int64, torch.uint64) else real.tolist()
        result["min"], result["max"] = plain(min(exact)), plain(max(exact))
    # Squares of the largest float64 overflow in torch: then the same numbers, smaller.
    small = 2.0**-600 if finite.numel() > 0 and finite.abs().max() > 2.0**490 else 1.0
    if finite.numel() > 0:
        result["mean"] = float((finite * small).mean()) / small
    if finite.numel() > 1:
        result["std"] = float((finite * small).std()) / small
    return result


def answer(tensor, index, precision):
    if index is not None:
        tensor = eval(f"tensor[{index}]", {"tensor": tensor})
    torch.set_printoptions(precision=precision)
    # torch 2.13 takes the NaN of this dtype for a number, and its smallest number for zero, when it prints it.
    printed = tensor.float() if tensor.dtype == torch.float8_e8m0fnu else tensor
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "statistics": statistics(tensor),
        "text": str(printed),
    }


def main():
    torch.set_num_threads(1)
    answers = []
    for job in json.load(sys.stdin):
        path = job["path"]
        tensors = read_safetensors(path) if path.endswith(".safetensors") else read_checkpoint(path)
        answers.append([answer(tensors[name], index, precision) for name, index, precision in job["cases"]])
    json.dump(answers, sys.stdout)


main()
