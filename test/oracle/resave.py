"""Loads a checkpoint with the real `torch.distributed.checkpoint` onto another mesh, and saves it again from there."""

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from ranks import run_ranks

BITS = {2: torch.int16, 4: torch.int32}


def placements_of(shape):
    """Axis 0 over the first dimension of the mesh, the last one over the second where that is another one."""
    second = Shard(len(shape) - 1) if len(shape) > 1 else Replicate()
    return [Shard(0) if shape else Replicate(), second]


def as_saved(local, transposed):
    """With the same elements; as it lies in memory when it was transposed."""
    if not transposed or local.dim() != 2:
        return local
    return local.t().contiguous().t()


def change(local, offset, index):
    """Adds 1 to the bits of one element, if it is here."""
    place = [i - start for i, start in zip(index, offset)]
    if all(0 <= i < size for i, size in zip(place, local.shape)):
        local.view(BITS[local.element_size()])[tuple(place)] += 1


def resave_on_rank(rank, job):
    mesh = init_device_mesh("cpu", tuple(job["mesh"]))
    metadata = FileSystemReader(job["checkpoint"]).read_metadata().state_dict_metadata
    state, offsets = {}, {}
    for fqn, value in metadata.items():
        if not isinstance(value, TensorStorageMetadata):
            continue
        shape, dtype = tuple(value.size), value.properties.dtype
        placements = placements_of(shape)
        local_shape, offsets[fqn] = compute_local_shape_and_global_offset(shape, mesh, placements)
        local = torch.zeros(local_shape, dtype=dtype)
        strides = torch.empty(shape, device="meta").stride()
        state[fqn] = DTensor.from_local(local, mesh, placements, run_check=False, shape=shape, stride=strides)
    dcp.load(state, checkpoint_id=job["checkpoint"])
    saved = {}
    for fqn, tensor in state.items():
        local = tensor.to_local()
        if fqn == job.get("fqn"):
            change(local, offsets[fqn], job["index"])
        own = as_saved(local, job["transposed"])
        saved[fqn] = DTensor.from_local(
            own, mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
        )
    saved["step"] = job["step"]
    dcp.save(saved, storage_writer=FileSystemWriter(job["out"]))
    return len(state)


def resave(job):
    rows, columns = job["mesh"]
    return {"tensors": run_ranks(resave_on_rank, rows * columns, job)[0]}
