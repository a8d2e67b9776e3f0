"""Whether a job can save a parameter cut by tensor parallelism and FSDP2, and load it again: what torch itself says."""

import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from ranks import run_ranks


def numbered(shape):
    return torch.arange(1, torch.Size(shape).numel() + 1, dtype=torch.float32).reshape(shape)


def build(mesh, case):
    module = nn.Module()
    module.weight = nn.Parameter(distribute_tensor(numbered(case["shape"]), mesh["tp"], [Shard(case["tp"])]))
    return fully_shard(module, mesh=mesh["fsdp"], shard_placement_fn=lambda _: Shard(case["fsdp"]))


def on_all(step):
    """Runs `step` on every rank; whether it went well on all of them."""
    try:
        went_well = step() is not False
    # A failed plan is a `CheckpointException`, which is no `Exception`.
    except BaseException:
        went_well = False
    answers = [None] * dist.get_world_size()
    dist.all_gather_object(answers, went_well)
    return all(answers)


@torch.no_grad()
def try_case(mesh, case, folder):
    made = {}
    if not on_all(lambda: made.update(state=build(mesh, case).state_dict())):
        return {"fails": "build", "local": []}
    state = made["state"]
    local = state["weight"].to_local()
    held = local.clone()
    if not on_all(lambda: dcp.save(state, checkpoint_id=folder)):
        return {"fails": "save", "local": []}
    local.fill_(torch.nan)
    if not on_all(lambda: dcp.load(state, checkpoint_id=folder)):
        return {"fails": "load", "local": []}
    if not on_all(lambda: torch.equal(local, held)):
        return {"fails": "values", "local": []}
    return {"fails": None, "local": held.flatten().tolist()}


def try_on_rank(rank, job):
    mesh = init_device_mesh("cpu", (job["fsdp"], job["tp"]), mesh_dim_names=("fsdp", "tp"))
    return [try_case(mesh, case, f"{job['folder']}/{index}") for index, case in enumerate(job["cases"])]


def try_cases(job):
    """Per case: at which step it fails on any rank, and the elements of every rank."""
    with tempfile.TemporaryDirectory(prefix="oracle-storable-") as folder:
        ranks = run_ranks(try_on_rank, job["fsdp"] * job["tp"], {**job, "folder": folder})
    return [{"fails": reports[0]["fails"], "local": [report["local"] for report in reports]} for reports in zip(*ranks)]
