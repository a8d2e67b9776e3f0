"""Loads checkpoints on gloo ranks, one measurement per JSON line on stdin, one JSON line as the answer.

{"reader": "dcp" | "hf", "path": directory, "world": ranks, "kind": "fsdp" | "tp", "count": bool, "isCold": bool}

`count` wraps torch's reader to count the bytes that leave the data files; such a run is not timed. `isCold` drops the files from the
page cache first. The ranks are forks of this process, so that no import is timed.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, HuggingFaceStorageReader
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

import mapping
import shards

# Imported after `mapping`, which adds the oracles' folder to the path.
import ranks
from load_dtensor import RecordingReader


def demanded(job):
    """Shapes and dtypes of what the trainer holds, by key."""
    if job["reader"] == "hf":
        return {name: (shape, torch.bfloat16) for name, shape in mapping.read_shapes(job["path"]).items()}
    stored = FileSystemReader(job["path"]).read_metadata().state_dict_metadata
    return {
        key: (tuple(entry.size), torch.float32 if key.endswith("expert_bias_E") else torch.bfloat16)
        for key, entry in stored.items()
    }


def open_reader(job):
    if job["reader"] == "hf":
        return HuggingFaceStorageReader(path=job["path"])
    return RecordingReader(job["path"]) if job["count"] else FileSystemReader(job["path"])


def owned_bytes(state):
    parts = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in state.values()]
    return sum(part.numel() * part.element_size() for part in parts)


def load_on_rank(rank, job):
    mesh = init_device_mesh("cpu", (job["world"],), mesh_dim_names=(job["kind"],))
    state = {
        key: shards.empty_shard(shape, mesh, shards.placement_of(key, job["kind"]), dtype)
        for key, (shape, dtype) in demanded(job).items()
    }
    reader = open_reader(job)
    dist.barrier()
    begun = time.monotonic()
    dcp.load(state, storage_reader=reader)
    ended = time.monotonic()
    report = {"begun": begun, "ended": ended, "ownedBytes": owned_bytes(state)}
    if job["count"]:
        report["readBytes"] = sum(size for reads in reader.fs.reads.values() for _, size in reads)
    return report


def forget(directory):
    """Drops a directory's files from the page cache, this machine's only one of them."""
    for path in Path(directory).iterdir():
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def measure(job):
    if job["isCold"]:
        forget(job["path"])
    reports = ranks.run_ranks(load_on_rank, job["world"], job)
    answer = {
        # From the first rank's start to the last rank's end: they leave the barrier together.
        "seconds": max(report["ended"] for report in reports) - min(report["begun"] for report in reports),
        "ownedBytes": [report["ownedBytes"] for report in reports],
    }
    if job["count"]:
        answer["readBytes"] = [report["readBytes"] for report in reports]
    return answer


def main():
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    ranks.TIMEOUT_SECONDS = 1800
    for line in sys.stdin:
        try:
            answer = measure(json.loads(line))
        except Exception as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
