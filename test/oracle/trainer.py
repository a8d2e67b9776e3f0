"""A trainer: shards a model, saves what it has with the real `dcp.save`, and writes down its layout with docs/dump_layout.py.

`hf-stream-dcp --like` and `--layout` read the two; the same sharded model then loads what they made.
"""

import importlib.util
import pickle
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore

import fsdp2
import load_dtensor
from ranks import run_ranks


def load_dump_layout():
    path = Path(__file__).parents[2] / "docs" / "dump_layout.py"
    spec = importlib.util.spec_from_file_location("dump_layout", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dump_layout


dump_layout = load_dump_layout()

TENSOR_PARALLEL = {
    "self_attn.q_proj": ColwiseParallel(),
    "self_attn.k_proj": ColwiseParallel(),
    "self_attn.v_proj": ColwiseParallel(),
    "self_attn.o_proj": RowwiseParallel(),
    "mlp.gate_proj": ColwiseParallel(),
    "mlp.up_proj": ColwiseParallel(),
    "mlp.down_proj": RowwiseParallel(),
}


def shard(model, job):
    """FSDP2 over `fsdp` ranks, tensor parallelism inside the layers over `tp`, experts over `ep` and then FSDP2."""
    mesh = init_device_mesh("cpu", (job["fsdp"], job["tp"]), mesh_dim_names=("fsdp", "tp"))
    experts = sparse_mesh(job)
    for layer in model.model.layers:
        if experts is not None and hasattr(layer.mlp, "experts"):
            for name, weight in list(layer.mlp.experts.named_parameters(recurse=False)):
                placed = distribute_tensor(weight.detach(), experts["ep"], [Shard(0)])
                layer.mlp.experts.register_parameter(name, torch.nn.Parameter(placed))
            fully_shard(layer.mlp.experts, mesh=experts["efsdp"])
        if job["tp"] > 1:
            parallelize_module(layer, mesh["tp"], TENSOR_PARALLEL)
        fully_shard(layer, mesh=mesh["fsdp"])
    return fully_shard(model, mesh=mesh["fsdp"])


def sparse_mesh(job):
    ep = job.get("ep", 1)
    if ep == 1:
        return None
    return init_device_mesh("cpu", (job["fsdp"] * job["tp"] // ep, ep), mesh_dim_names=("efsdp", "ep"))


def new_model(job):
    import transformers

    config = transformers.AutoConfig.from_pretrained(job["model"])
    return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, job["dtype"]))


def train_on_rank(rank, job):
    """One step with AdamW, then everything a trainer saves."""
    model = shard(new_model(job), job)
    dump_layout(model, job["dump"])
    # One parameter after the other: those of different meshes cannot be updated in one call.
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    sum(parameter.to_local().float().sum() for parameter in model.parameters()).backward()
    optimizer.step()
    model_state, optim_state = get_state_dict(model, optimizer)
    state = {"model": model_state, "optim": optim_state, "rng_state": torch.get_rng_state(), "train_state": {"step": 1}}
    dcp.save(state, checkpoint_id=job["checkpoint"])
    return sorted(model_state)


def train(job):
    import transformers  # noqa: F401  (imported once, before the ranks are forked)

    return {"keys": run_ranks(train_on_rank, job["fsdp"] * job["tp"], job)[0]}


@torch.no_grad()
def resume_on_rank(rank, job):
    import transformers

    reference = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    model = shard(new_model(job), job)
    state = {job["prefix"] + key: value for key, value in model.state_dict().items()}
    for value in state.values():
        value.to_local().fill_(torch.nan)
    reader = load_dtensor.RecordingReader(job["checkpoint"])
    dcp.load(state, storage_reader=reader)
    expected = {job["prefix"] + key: value for key, value in reference.state_dict().items()}
    return load_dtensor.report_reads(reader, state, fsdp2.same_state(state, expected))


def resume(job):
    """What every rank finds that loads the model from a checkpoint."""
    import transformers  # noqa: F401

    metadata = load_dtensor.RecordingReader(job["checkpoint"]).read_metadata()
    ranks = run_ranks(resume_on_rank, job["fsdp"] * job["tp"], job)
    return {"demanded": ranks[0]["keys"], "stored": sorted(metadata.state_dict_metadata), "ranks": ranks}


def fake(job):
    """Writes down the layout without any other rank: as each of `ranks`, one after the other."""
    for rank in job["ranks"]:
        dist.init_process_group("fake", rank=rank, world_size=job["fsdp"] * job["tp"], store=FakeStore())
        with torch.device("meta"):
            model = new_model(job)
        dump_layout(shard(model, job), job["dump"])
        dist.destroy_process_group()
    return {}


def fsdp1_state(model):
    """FSDP's first version: parameters flattened while it trains, `ShardedTensor`s in its state dict."""
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardedStateDictConfig, StateDictType

    wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    config = ShardedStateDictConfig(_use_dtensor=False)
    with FullyShardedDataParallel.state_dict_type(wrapped, StateDictType.SHARDED_STATE_DICT, config):
        return wrapped.state_dict()


def save_fsdp1_on_rank(rank, job):
    dcp.save({"model": fsdp1_state(new_model(job))}, checkpoint_id=job["checkpoint"])
    if rank == 0:
        # Megatron-Core's planner adds an attribute of its own to the metadata.
        path = Path(job["checkpoint"]) / ".metadata"
        metadata = pickle.loads(path.read_bytes())
        metadata.mcore_data = {"model.lm_head.weight": {"nd_reformulated_orig_global_shape": (2048, 256)}}
        path.write_bytes(pickle.dumps(metadata))


def save_fsdp1(job):
    import transformers  # noqa: F401

    run_ranks(save_fsdp1_on_rank, job["fsdp"], job)
    return {}


@torch.no_grad()
def resume_fsdp1_on_rank(rank, job):
    import transformers

    reference = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    state = {"model." + key: value for key, value in fsdp1_state(new_model(job)).items()}
    shards = {key: shard for key, value in state.items() for shard in value.local_shards()}
    for shard in shards.values():
        shard.tensor.fill_(torch.nan)
    reader = load_dtensor.RecordingReader(job["checkpoint"])
    dcp.load(state, storage_reader=reader)
    mismatched = []
    for key, value in reference.state_dict().items():
        shard = shards.get("model." + key)
        if shard is None:
            continue
        start, length = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
        if not load_dtensor.same_bits(shard.tensor, value[start : start + length]):
            mismatched.append(key)
    report = load_dtensor.report_reads(reader, {key: shard.tensor for key, shard in shards.items()}, mismatched)
    return {**report, "keys": sorted(state)}


def resume_fsdp1(job):
    import transformers  # noqa: F401

    metadata = load_dtensor.RecordingReader(job["checkpoint"]).read_metadata()
    ranks = run_ranks(resume_fsdp1_on_rank, job["fsdp"], job)
    return {"demanded": ranks[0]["keys"], "stored": sorted(metadata.state_dict_metadata), "ranks": ranks}


def save_placed_on_rank(rank, job):
    """The state dict of a torchtitan rank as torchtitan places it, expert parallelism included, saved and written down."""
    layout = job["layout"]
    held = layout["ranks"][str(rank)]
    meshes = load_dtensor.Meshes(layout["parallel_dims"], held["axis_rank"])
    dtype = getattr(torch, job["dtype"])
    state = {key: load_dtensor.empty_target(layout["params"][key], dtype, meshes)[0] for key in held["state"]}
    dump_layout(state, job["dump"])
    dcp.save({**state, "optimizer": dict(state), "dataloader": {f"dp_rank_{rank}": b"state"}}, checkpoint_id=job["checkpoint"])


def save_placed(job):
    layout = load_dtensor.read_layout(job)
    run_ranks(save_placed_on_rank, layout["world_size"], {**job, "layout": layout})
    return {}
