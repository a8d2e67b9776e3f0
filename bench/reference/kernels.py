"""torch with one thread, asked for one kernel at a time: as bench/stages/kernel-child.mjs, line for line.

usage: kernels.py FOLDER
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


def work(case):
    """The target, and what fills it."""
    x = source(case["from"], case["sourceBytes"])
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
        fill()
    answer = {"cpuSeconds": time.process_time() - cpu, "wallSeconds": time.perf_counter() - wall}
    if case["wantsHash"]:
        answer["sha256"] = hashlib.sha256(target.view(torch.uint8).numpy()).hexdigest()
    print(json.dumps(answer), flush=True)
