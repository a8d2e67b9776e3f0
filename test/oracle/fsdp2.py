"""Loads checkpoints with Hugging Face's own names into `transformers` models wrapped by FSDP2 (`fully_shard`)."""

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import load_dtensor
from ranks import run_ranks


def shard_model(model, mesh):
    """Every layer, whatever tower it belongs to, and what is left."""
    for module in list(model.modules()):
        if isinstance(module, torch.nn.ModuleList) and len(module) > 0 and is_stack(module):
            for layer in module:
                fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def is_stack(modules):
    return not isinstance(modules[0], (torch.nn.Linear, torch.nn.LayerNorm))


def gathered(value):
    return value.full_tensor() if isinstance(value, torch.distributed.tensor.DTensor) else value


def same_state(state, reference):
    """Names whose sharded values, gathered again, differ from the reference in any bit."""
    return [name for name, value in state.items() if not load_dtensor.same_bits(gathered(value), reference[name])]


def local(value):
    return value.to_local() if isinstance(value, torch.distributed.tensor.DTensor) else value


@torch.no_grad()
def load_model(job, mesh):
    import transformers

    options = dict(experts_implementation="eager")
    config = transformers.AutoConfig.from_pretrained(job["model"])
    architecture = getattr(transformers, config.architectures[0])
    reference = architecture.from_pretrained(job["model"], dtype="auto", **options).eval()
    model = architecture._from_config(reference.config, dtype=reference.dtype, **options).eval()
    # The layout of `fully_shard` alone: mixed precision and offload would not change what is stored.
    shard_model(model, mesh)
    state = model.state_dict()
    for value in state.values():
        local(value).fill_(torch.nan)
    reader = load_dtensor.RecordingReader(job["checkpoint"])
    dcp.load(state, storage_reader=reader)
    # Sharded parameters were filled in place; buffers, too.
    tokens = torch.arange(48).view(2, 24) * 37 % (reference.config.get_text_config().vocab_size - 10)
    expected, actual = reference(tokens).logits, model(tokens).logits
    return {
        **load_dtensor.report_reads(reader, state, same_state(state, reference.state_dict())),
        "logitsEqual": load_dtensor.same_bits(expected, actual),
        "logitsFinite": bool(expected.isfinite().all()),
        "logitsSpread": float(expected.std()),
    }


def load_on_rank(rank, job):
    mesh = init_device_mesh("cpu", (job["world_size"],), mesh_dim_names=("fsdp",))
    return [load_model(loaded, mesh) for loaded in job["loads"]]


def load_fsdp2(job):
    """One report for each of `job["loads"]`, all in the same ranks."""
    import transformers  # noqa: F401  (imported once, before the ranks are forked)

    ranks = run_ranks(load_on_rank, job["world_size"], job)
    reports = []
    for loaded, of_ranks in zip(job["loads"], zip(*ranks)):
        metadata = load_dtensor.RecordingReader(loaded["checkpoint"]).read_metadata()
        stored = sorted(metadata.state_dict_metadata)
        reports.append({"demanded": of_ranks[0]["keys"], "stored": stored, "ranks": of_ranks})
    return reports
