"""What loading costs and whether it works, as the real `torch.distributed.checkpoint` sees it.

A job is a list of steps for one process group: save a state dict, or load into one. Of a load every rank reports the bytes that the
operating system gave its thread (`rchar` of /proc/thread-self/io: what `read` returned, whatever file it was), what was raised, and
which tensors then hold something else than was saved.
"""

import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from load_dtensor import parse_placement
from ranks import run_ranks

OLD = 77  # what a tensor holds before it is loaded; no saved element is


def numbered(shape, dtype):
    """The whole tensor: small numbers, which every dtype holds."""
    count = torch.Size(shape).numel()
    return (torch.arange(count) % 61).to(dtype).reshape(shape)


def build(tensor, meshes, is_saved):
    """A tensor of the state dict, and the part of the whole that it should hold."""
    dtype, shape = getattr(torch, tensor["dtype"]), tuple(tensor["shape"])
    whole = numbered(shape, dtype)
    if tensor.get("mesh") is None:
        return (whole.clone() if is_saved else torch.full(shape, OLD, dtype=torch.float32).to(dtype)), whole
    sizes = tuple(tensor["mesh"])
    if sizes not in meshes:
        meshes[sizes] = init_device_mesh("cpu", sizes)
    placements = tuple(parse_placement(text) for text in tensor["placements"])
    local_shape, offset = compute_local_shape_and_global_offset(shape, meshes[sizes], placements)
    part = whole[tuple(slice(start, start + size) for start, size in zip(offset, local_shape))]
    local = part.clone() if is_saved else torch.full_like(part, OLD)
    meta = TensorMeta(torch.Size(shape), torch.empty(shape, device="meta").stride(), dtype)
    return DTensor(local, DTensorSpec(meshes[sizes], placements, tensor_meta=meta), requires_grad=False), part


def state_of(step, meshes, is_saved):
    built = {key: build(tensor, meshes, is_saved) for key, tensor in step["tensors"].items()}
    state = {key: value for key, (value, _) in built.items()}
    return {**state, **step.get("objects", {})}, {key: part for key, (_, part) in built.items()}


def rchar():
    with open("/proc/thread-self/io", "rb", buffering=0) as file:
        return int(file.read(64).split()[1])


def cause_of(error):
    """What the first rank that failed raised: torch gathers that of all ranks."""
    failures = getattr(error, "failures", None)
    raised = next(iter(failures.values()))[0] if failures else error
    return {"type": type(raised).__name__, "message": str(raised)[:300]}


def load(step, meshes):
    state, parts = state_of(step, meshes, False)
    reader = FileSystemReader(step["checkpoint"])
    overhead = -rchar() + rchar()
    before = rchar()
    # A failed plan is a `CheckpointException`, which is no `Exception`.
    try:
        dcp.load(state, storage_reader=reader)
        raised = None
    except BaseException as error:
        raised = cause_of(error)
    read = rchar() - before - overhead
    wrong = []
    for key, part in parts.items():
        value = state[key]
        local = value.to_local() if isinstance(value, DTensor) else value
        if not isinstance(local, torch.Tensor) or not torch.equal(local.to(torch.float32), part.to(torch.float32)):
            wrong.append(key)
    return {"bytes": read, "raised": raised, "wrong": wrong}


def save(step, meshes):
    state, _ = state_of(step, meshes, True)
    writer = FileSystemWriter(step["checkpoint"], **step.get("writer", {}))
    dcp.save(state, storage_writer=writer, **step.get("options", {}))


def buffer_bytes(file):
    """What Python's buffered reader asks for when one byte is wanted of a file that is larger."""
    overhead = -rchar() + rchar()
    start = rchar()
    with open(file, "rb") as stream:
        stream.read(1)
    return rchar() - start - overhead


def perform(rank, job):
    warnings.filterwarnings("ignore")
    meshes, results = {}, []
    # What is imported on first use would count as read.
    first = {"tensors": {"warm": {"shape": [1], "dtype": "float32"}}, "objects": {"step": 1}}
    warm = f"{job['folder']}/warm-{dist.get_world_size()}"
    save({**first, "checkpoint": warm}, meshes)
    load({**first, "checkpoint": warm}, meshes)
    for step in job["steps"]:
        results.append(save(step, meshes) if step["do"] == "save" else load(step, meshes))
    return results


def lint(job):
    """Per step the reports of the ranks, in rank order; of a step that saves, nulls. And what a buffered file reads at once."""
    steps = [list(reports) for reports in zip(*run_ranks(perform, job["world_size"], job))]
    return {"steps": steps, "bufferBytes": buffer_bytes(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")}
