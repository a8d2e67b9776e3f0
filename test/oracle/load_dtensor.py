"""Loads a checkpoint with the real `torch.distributed.checkpoint` into DTensors placed as torchtitan places them.

The meshes, placements and coordinates come from a layout file that torchtitan itself produced. Each rank reports facts
(bytes, reads, mismatches); the test decides what they must be.
"""

import contextlib
import gzip
import json
import re

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.distributed.tensor.placement_types import _StridedShard

from expected import layer_of
from ranks import run_ranks


class RecordingStream:
    """A file that notes every read as (offset, bytes)."""

    def __init__(self, stream, reads):
        self.stream, self.reads = stream, reads

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def read(self, size=-1):
        offset = self.stream.tell()
        data = self.stream.read(size)
        self.reads.append((offset, len(data)))
        return data

    def readinto(self, buffer):
        offset = self.stream.tell()
        count = self.stream.readinto(buffer)
        self.reads.append((offset, count))
        return count


class RecordingFileSystem(FileSystem):
    def __init__(self):
        self.reads = {}

    @contextlib.contextmanager
    def create_stream(self, path, mode):
        with super().create_stream(path, mode) as stream:
            yield RecordingStream(stream, self.reads.setdefault(path.name, []))


class RecordingReader(FileSystemReader):
    """torch's own reader; keeps the plan it was given and what was read for it."""

    def __init__(self, path):
        super().__init__(path)
        self.fs = RecordingFileSystem()
        self.items = []

    def read_data(self, plan, planner):
        self.items.extend(plan.items)
        return super().read_data(plan, planner)


def parse_placement(text):
    if text == "Replicate()":
        return Replicate()
    if match := re.fullmatch(r"Shard\(dim=(\d+)\)", text):
        return Shard(int(match[1]))
    dim, split_factor = re.fullmatch(r"_StridedShard\(dim=(\d+), sf=(\d+)\)", text).groups()
    return _StridedShard(int(dim), split_factor=int(split_factor))


def build_meshes(degrees):
    """torchtitan's two views of the world: dense (…, fsdp, tp) and sparse (…, efsdp, ep)."""
    fsdp = degrees["dp_shard"] * degrees["cp"]
    outer = (degrees["pp"], degrees["dp_replicate"])
    names = ("pp", "dp_replicate")
    dense = init_device_mesh("cpu", (*outer, fsdp, degrees["tp"]), mesh_dim_names=(*names, "fsdp", "tp"))
    efsdp = fsdp * degrees["tp"] // degrees["ep"]
    sparse = init_device_mesh("cpu", (*outer, efsdp, degrees["ep"]), mesh_dim_names=(*names, "efsdp", "ep"))
    return dense, sparse


class Meshes:
    def __init__(self, degrees, coordinates):
        self.dense, self.sparse = build_meshes(degrees)
        for mesh in (self.dense, self.sparse):
            for name in mesh.mesh_dim_names:
                if name in coordinates:
                    assert mesh.get_local_rank(name) == coordinates[name], f"coordinate {name}"
        self.known = {}

    def get(self, names, shape):
        # `dp_shard` and `dp_shard_cp` are what the layout file calls the FSDP dimension under `spmd_types`.
        names = tuple("fsdp" if name in ("dp_shard", "dp_shard_cp") else name for name in names)
        if names not in self.known:
            sparse = "efsdp" in names or "ep" in names
            self.known[names] = (self.sparse if sparse else self.dense)[names]
        mesh = self.known[names]
        assert list(mesh.shape) == shape, f"mesh {names}: {mesh.shape} is not {shape}"
        return mesh


def empty_target(param, dtype, meshes):
    """A tensor of the trainer before loading (every element NaN) and the (shape, offset) of what this rank holds."""
    shape = tuple(param["global_shape"])
    if not param["mesh_dims"]:
        return torch.full(shape, torch.nan, dtype=dtype), shape, (0,) * len(shape)
    mesh = meshes.get(param["mesh_dims"], param["mesh_shape"])
    placements = tuple(parse_placement(text) for text in param["placements"])
    local_shape, offset = compute_local_shape_and_global_offset(shape, mesh, placements)
    local = torch.full(local_shape, torch.nan, dtype=dtype)
    meta = TensorMeta(torch.Size(shape), torch.empty(shape, device="meta").stride(), dtype)
    return DTensor(local, DTensorSpec(mesh, placements, tensor_meta=meta), requires_grad=False), local_shape, offset


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(
        a.contiguous().flatten().view(torch.uint8), b.contiguous().flatten().view(torch.uint8)
    )


def reads_of(reader, item):
    """Sizes of the reads that began inside this item's entry."""
    info = reader.storage_data[item.storage_index]
    begin, end = info.offset, info.offset + info.length
    return [size for offset, size in reader.fs.reads[info.relative_path] if begin <= offset < end]


def checkpoint_of(rank, job):
    """With a disk for every node, a rank sees its node's only."""
    nodes = job.get("nodes", 0)
    if nodes == 0:
        return job["checkpoint"]
    return f"{job['checkpoint']}/{rank // (job['layout']['world_size'] // nodes)}"


def load_on_rank(rank, job):
    layout = job["layout"]
    held = layout["ranks"][str(rank)]
    meshes = Meshes(layout["parallel_dims"], held["axis_rank"])
    state, places, mismatched = {}, {}, []
    with safe_open(job["expected"], framework="pt") as expected:
        for key in held["state"]:
            param = layout["params"][key]
            assert list(expected.get_slice(key).get_shape()) == param["global_shape"], key
            dtype = getattr(torch, job["dtype"]) if job.get("dtype") else expected.get_slice(key)[:0].dtype
            state[key], *places[key] = empty_target(param, dtype, meshes)
        reader = RecordingReader(checkpoint_of(rank, job))
        dcp.load(state, storage_reader=reader)
        for key, (shape, offset) in places.items():
            local = state[key].to_local() if isinstance(state[key], DTensor) else state[key]
            box = tuple(slice(start, start + size) for start, size in zip(offset, shape))
            whole = expected.get_slice(key)[:]
            if not same_bits(local, whole[box].to(local.dtype)):
                mismatched.append(key)
    return report_reads(reader, state, mismatched)


def report_reads(reader, state, mismatched):
    metadata = reader.read_metadata()
    chunk_sizes = {}
    partial, planned_bytes, file_bytes, bulk = [], 0, 0, 0
    for item in reader.items:
        key = item.storage_index.fqn
        if key not in chunk_sizes:
            chunk_sizes[key] = {
                tuple(chunk.offsets): tuple(chunk.sizes) for chunk in metadata.state_dict_metadata[key].chunks
            }
        sizes = chunk_sizes[key][tuple(item.storage_index.offset)]
        if tuple(item.lengths) != sizes or any(item.storage_offsets):
            partial.append(key)
        stored = torch.Size(sizes).numel() * metadata.state_dict_metadata[key].properties.dtype.itemsize
        planned_bytes += stored
        reads = reads_of(reader, item)
        file_bytes += sum(reads)
        bulk += stored in reads
    locals_ = [t.to_local() if isinstance(t, DTensor) else t for t in state.values()]
    return {
        "keys": sorted(state),
        "dtypes": sorted({str(t.dtype) for t in locals_}),
        "mismatched": mismatched,
        "items": len(reader.items),
        "partialReads": partial,
        # Items whose data left the file as one read of exactly the chunk's bytes.
        "bulkReads": bulk,
        # Bytes of the stored tensors that torch unpacked for this rank, and bytes of the tensors it holds.
        "readBytes": planned_bytes,
        "ownedBytes": sum(t.numel() * t.element_size() for t in locals_),
        # Everything that left the data files, zip headers and pickles included.
        "fileBytes": file_bytes,
    }


def read_layout(job):
    with gzip.open(job["layout"]) as file:
        layout = json.load(file)
    # torchtitan's fused `wqkv` parameters are listed for information; the state dict has wq, wk and wv.
    params = {
        key: param
        for key, param in layout["params"].items()
        if param["kind"] != "param_not_in_state_dict" and layer_of(key) < job.get("layers", float("inf"))
    }
    for rank in layout["ranks"].values():
        rank["state"] = {key: chunk for key, chunk in rank["state"].items() if key in params}
    return {**layout, "params": params}


def load(job):
    """Every rank's facts, and the keys the trainer demands beside the keys and dtypes the checkpoint has."""
    layout = read_layout(job)
    metadata = FileSystemReader(checkpoint_of(0, {**job, "layout": layout})).read_metadata()
    return {
        "demanded": sorted(layout["params"]),
        "stored": sorted(metadata.state_dict_metadata),
        "ranks": run_ranks(load_on_rank, layout["world_size"], {**job, "layout": layout}),
    }
