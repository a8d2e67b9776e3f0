"""Loads a checkpoint with Hugging Face's own names into a `transformers` model wrapped by FSDP2 (`fully_shard`)."""

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import load_dtensor
from ranks import run_ranks


def shard_model(model, world_size):
    mesh = init_device_mesh("cpu", (world_size,), mesh_dim_names=("fsdp",))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def same_state(state, reference):
    """Names whose sharded values, gathered again, differ from the reference in any bit."""
    return [name for name, value in state.items() if not load_dtensor.same_bits(value.full_tensor(), reference[name])]


@torch.no_grad()
def load_on_rank(rank, job):
    import transformers

    reference = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype="auto").eval()
    model = transformers.AutoModelForCausalLM.from_config(reference.config, dtype=reference.dtype).eval()
    # The layout of `fully_shard` alone: mixed precision and offload would not change what is stored.
    shard_model(model, job["world_size"])
    state = model.state_dict()
    for value in state.values():
        value.to_local().fill_(torch.nan)
    reader = load_dtensor.RecordingReader(job["checkpoint"])
    dcp.load(state, storage_reader=reader)
    tokens = torch.arange(48).view(2, 24) * 37 % reference.config.vocab_size
    expected, actual = reference(tokens).logits, model(tokens).logits
    return {
        **load_dtensor.report_reads(reader, state, same_state(state, reference.state_dict())),
        "logitsEqual": load_dtensor.same_bits(expected, actual),
        "logitsFinite": bool(expected.isfinite().all()),
        "logitsSpread": float(expected.std()),
    }


def load_fsdp2(job):
    import transformers  # noqa: F401  (imported once, before the ranks are forked)

    metadata = load_dtensor.RecordingReader(job["checkpoint"]).read_metadata()
    ranks = run_ranks(load_on_rank, job["world_size"], job)
    return {"demanded": ranks[0]["keys"], "stored": sorted(metadata.state_dict_metadata), "ranks": ranks}
