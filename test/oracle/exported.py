"""Judges models that were made of checkpoints: their files by safetensors, the model by transformers; and makes a trainer's later checkpoint."""

import hashlib
import json
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from ranks import run_ranks


def digest(tensor):
    data = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), hashlib.sha256(data).hexdigest()]


def hashes(job):
    """Dtype, shape and SHA-256 of every tensor of a model's files; the index, where there is one, must name them all."""
    folder = Path(job["directory"])
    found, files = {}, {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            assert file.metadata() == {"format": "pt"}, file.metadata()
            for name in file.keys():
                assert name not in found, f"{name} is there twice"
                found[name] = digest(file.get_tensor(name))
                files[name] = path.name
    for path in folder.glob("*.index.json"):
        index = json.loads(path.read_text())
        assert index["weight_map"] == files, "the index is not of these files"
        total = sum(torch.empty(shape, dtype=getattr(torch, dtype)).nbytes for dtype, shape, _ in found.values())
        assert index["metadata"]["total_size"] == total
    return {"tensors": found, "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}}


def placements(size, mesh):
    """Dimension `d` of the mesh cuts dimension `d` of the tensor, if it has enough of it."""
    return [Shard(d) if d < len(size) and size[d] >= mesh.size(d) else Replicate() for d in range(mesh.ndim)]


@torch.no_grad()
def retrain_on_rank(rank, job):
    mesh = init_device_mesh("cpu", tuple(job["mesh"]), mesh_dim_names=("fsdp", "tp"))
    metadata = dcp.FileSystemReader(job["checkpoint"]).read_metadata().state_dict_metadata
    model = {}
    for key, stored in metadata.items():
        if isinstance(stored, TensorStorageMetadata):
            whole = torch.zeros(stored.size, dtype=stored.properties.dtype)
            model[key] = distribute_tensor(whole, mesh, placements(stored.size, mesh))
    dcp.load(model, checkpoint_id=job["checkpoint"])
    for key in job["changed"]:
        local = model[key].to_local()
        local.add_(torch.ones_like(local))
    optimizer = {f"state.{key}.exp_avg": value.clone() for key, value in model.items()}
    dcp.save({"model": model, "optim": optimizer, "train_state": {"step": 1000}}, checkpoint_id=job["saved"])
    return sorted(model)


def retrain(job):
    """Loads a checkpoint on another mesh, adds one to every element of some tensors, and saves what a trainer saves."""
    world_size = job["mesh"][0] * job["mesh"][1]
    return {"keys": run_ranks(retrain_on_rank, world_size, job)[0]}


@torch.no_grad()
def pretrained(job):
    """What transformers makes of an exported directory, beside the model that it came from."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(job["directory"])
    architecture = getattr(transformers, config.architectures[0])
    model, info = architecture.from_pretrained(job["directory"], dtype="auto", output_loading_info=True)
    original = architecture.from_pretrained(job["model"], dtype=model.dtype).state_dict()
    state = model.state_dict()
    different = [key for key, value in original.items() if not torch.equal(value, state[key].to(value.dtype))]
    trouble = {name: sorted(map(str, keys)) for name, keys in info.items() if keys}
    return {"trouble": trouble, "keys": len(original), "different": different, "dtype": str(model.dtype).removeprefix("torch.")}
