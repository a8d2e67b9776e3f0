"""Checks, with real torch, a directory that dcp-entry.test.ts wrote. Prints one JSON object: what was found wrong, by check."""

import io
import json
import pathlib
import pickle
import sys
import zipfile

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

root = pathlib.Path(sys.argv[1])
job = json.loads((root / "job.json").read_text())


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes().hex()


def check_entries():
    wrong = []
    for entry in job["entries"]:
        path = root / entry["file"]
        tensor = torch.load(path, weights_only=True)
        saved = io.BytesIO()
        torch.save(tensor, saved)
        found = {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "data": raw(tensor) if tensor.numel() else "",
            "same as torch.save": saved.getvalue() == path.read_bytes(),
            "bad record": zipfile.ZipFile(path).testzip(),
        }
        expected = {
            "dtype": entry["dtype"],
            "shape": entry["shape"],
            "data": entry["data"],
            "same as torch.save": True,
            "bad record": None,
        }
        if found != expected:
            wrong.append({"file": entry["file"], "found": found})
    return wrong


def check_metadata():
    index = job["index"]
    tensors, paths, places = {}, {}, {}

    def add_place(fqn, offset, hint, place):
        key = MetadataIndex(fqn, offset, hint)
        places[key] = _StorageInfo(place["file"], place["offset"], place["length"])

    for tensor in index["tensors"]:
        fqn = tensor["fqn"]
        paths[fqn] = (fqn,)
        chunks = []
        for hint, entry in enumerate(tensor["entries"]):
            offset, size = (torch.Size(entry["box"][part]) for part in ("offset", "size"))
            chunks.append(ChunkStorageMetadata(offset, size))
            add_place(fqn, offset, hint, entry)
        properties = TensorProperties(dtype=getattr(torch, tensor["dtype"]))
        size = torch.Size(tensor["shape"])
        tensors[fqn] = TensorStorageMetadata(properties, size, chunks)
    for item in index["objects"]:
        paths[item["fqn"]] = (item["fqn"],)
        tensors[item["fqn"]] = BytesStorageMetadata()
        add_place(item["fqn"], None, None, item)
    expected = Metadata(tensors, planner_data=paths, storage_data=places)
    found = pickle.loads((root / "index.metadata").read_bytes())
    same = {
        "equal": found == expected,
        "order": list(found.state_dict_metadata) == list(tensors),
        "hints": [key.index for key in found.storage_data] == [key.index for key in places],
    }
    return [name for name, is_same in same.items() if not is_same]


def check_load():
    expected = job["checkpoint"]
    state = {
        name: torch.zeros(tensor["shape"], dtype=getattr(torch, tensor["dtype"]))
        for name, tensor in expected.items()
    }
    dcp.load(state, checkpoint_id=root / "checkpoint", no_dist=True)
    return [
        name
        for name, tensor in expected.items()
        if (raw(state[name]) if state[name].numel() else "") != tensor["data"]
    ]


def check_large():
    wrong = []
    for large in job["large"]:
        path = root / large["file"]
        data = zipfile.ZipFile(path).getinfo("archive/data/0")
        tensor = torch.load(path, mmap=True, weights_only=True)
        found = [data.file_size, data.compress_size, tensor.numel(), int(tensor[0]), int(tensor[-1])]
        if found != [large["bytes"], large["bytes"], large["bytes"], 1, 2]:
            wrong.append({"file": large["file"], "found": found})
    return wrong


print(
    json.dumps(
        {
            "torch": torch.__version__,
            "entries": check_entries(),
            "metadata": check_metadata(),
            "load": check_load(),
            "large": check_large(),
        }
    )
)
