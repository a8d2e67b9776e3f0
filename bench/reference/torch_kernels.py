"""torch with one thread, asked for one kernel at a time: as bench/stages/kernel-child.mjs, line for line.

usage: torch_kernels.py FOLDER        (a module named `kernels` would be taken for the package that transformers looks for)
"""

import hashlib
import json
import os
import sys
import time

import torch

torch.set_num_threads(1)
FOLDER = sys.argv[1]
sources = {}


def source(dtype, size):
    if (dtype, size) not in sources:
        sources.clear()
        with open(os.path.join(FOLDER, dtype), "rb") as file:
            data = bytearray(file.read(size))
        sources[dtype, size] = torch.frombuffer(data, dtype=getattr(torch, dtype))
    return sources[dtype, size]


def scales(dtype, count):
    with open(os.path.join(FOLDER, f"scales_{dtype}"), "rb") as file:
        data = bytearray(file.read(count * getattr(torch, dtype).itemsize))
    return torch.frombuffer(data, dtype=getattr(torch, dtype))


def fp8(case, weight):
    """As one would write it: one product for every element, rounded to the dtype."""
    rows, columns = case["rows"], case["columns"]
    scale = scales("float32", weight.numel() // 128**2).view(rows // 128, 1, columns // 128, 1)
    blocks = weight.view(rows // 128, 128, columns // 128, 128)
    dtype = getattr(torch, case["to"])

    def dequantise():
        value = (blocks.float() * scale).to(dtype).view(rows, columns)
        return value.t().contiguous() if case["isTransposed"] else value

    return dequantise


def mxfp4(case, weight):
    """Transposed: transformers' own function. As it is: the same steps without its last, which is the transpose."""
    shape = (-1, case["rows"], case["columns"] // 32)
    blocks = weight.view(*shape, 16)
    scale = scales("uint8", weight.numel() // 16).view(shape)
    dtype = getattr(torch, case["to"])
    from transformers.integrations.mxfp4 import FP4_VALUES, convert_moe_packed_tensors

    if case["isTransposed"]:
        return lambda: convert_moe_packed_tensors(blocks, scale, dtype=dtype)
    values = torch.tensor(FP4_VALUES, dtype=dtype)

    def dequantise():
        codes = torch.stack((blocks & 15, blocks >> 4), dim=-1).flatten(-2).int()
        value = values[codes]
        return torch.ldexp(value, (scale.int() - 127)[..., None], out=value)

    return dequantise


def work(case):
    """The target, and what fills it; of quantised weights what makes it."""
    x = source(case["from"], case["sourceBytes"])
    if case["kind"] in ("fp8", "mxfp4"):
        return None, (fp8 if case["kind"] == "fp8" else mxfp4)(case, x)
    target = torch.empty(x.numel(), dtype=getattr(torch, case["to"]))
    kind = case["kind"]
    if kind in ("copy", "cast"):
        return target, lambda: target.copy_(x)
    if kind == "columns":
        width = case["runBytes"] // x.element_size()
        view = x.view(-1, case["parts"] * width)
        pairs = list(zip(target.view(case["parts"], -1, width), view.split(width, dim=1)))

        def cut():
            for part, columns in pairs:
                part.copy_(columns)

        return target, cut
    if kind == "rotary":
        width, half = case["rowBytes"] // x.element_size(), case["headRows"] // 2
        rows = x.view(-1, 2, half, width).transpose(1, 2)
        return target, lambda: target.view(rows.shape).copy_(rows)
    if kind == "transpose":
        columns = x.view(-1, case["columns"]).t()
        return target, lambda: target.view(columns.shape).copy_(columns)
    raise ValueError(f"no kernel {kind}")


current, made = None, None
for line in sys.stdin:
    case = json.loads(line)
    if case["name"] != current:
        current, made = case["name"], work(case)
    target, fill = made
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(case["repeats"]):
        result = fill()
    answer = {"cpuSeconds": time.process_time() - cpu, "wallSeconds": time.perf_counter() - wall}
    if case["wantsHash"]:
        result = result if target is None else target
        answer["sha256"] = hashlib.sha256(result.flatten().view(torch.uint8).numpy()).hexdigest()
    print(json.dumps(answer), flush=True)
