"""Whether a checkpoint holds what the source says it must, bit for bit: one job per JSON line on stdin, one JSON line as the answer.

{"model": local snapshot, "path": checkpoint, "dtype": of its tensors}: every key is loaded whole by `dcp.load` itself, and compared
with torchtitan's mapping of the source. The answer lists what is `wrong`. Without a `path`, the source is only read.
"""

import json
import sys
import warnings

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader

import mapping

# Imported after `mapping`, which adds the oracles' folder to the path.
from expected import read_model
from load_dtensor import same_bits

# "torch.distributed is disabled, …": that is how it is meant here.
warnings.filterwarnings("ignore", category=UserWarning)


def compare(path, dtype, expected):
    stored = FileSystemReader(path).read_metadata().state_dict_metadata
    wrong = [f"{key} is missing" for key in sorted(set(expected) - set(stored))]
    wrong += [f"{key} is extra" for key in sorted(set(stored) - set(expected))]
    for key in set(expected) & set(stored):
        tensor = expected[key] if key.endswith("expert_bias_E") else expected[key].to(dtype)
        if stored[key].properties.dtype != tensor.dtype:
            wrong.append(f"{key} is stored as {stored[key].properties.dtype}, not {tensor.dtype}")
        state = {key: torch.empty(tensor.shape, dtype=tensor.dtype)}
        dcp.load(state, storage_reader=FileSystemReader(path), no_dist=True)
        if not same_bits(state[key], tensor):
            wrong.append(f"{key} has other bits")
    return wrong


def main():
    model, expected = None, {}
    for line in sys.stdin:
        job = json.loads(line)
        if job["model"] != model:
            model = job["model"]
            expected = mapping.from_hf(mapping.read_config(model), read_model(model))
        if "path" not in job:
            print(json.dumps({}), flush=True)
            continue
        try:
            wrong = compare(job["path"], getattr(torch, job["dtype"]), expected)
            answer = {"keys": len(expected), "bytes": mapping.state_bytes(expected), "wrong": wrong}
        except Exception as error:
            answer = {"error": f"{job['path']}: {error}"}
        print(json.dumps(answer), flush=True)


main()
