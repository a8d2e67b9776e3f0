"""DTensors as a trainer holds them before it loads: which part of a parameter a rank has, by FSDP or by tensor parallelism."""

import math

import torch

# The first DTensor imports it: better once, before the ranks are forked, than in every rank.
import torch._dynamo  # noqa: F401
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

# torchtitan's tensor-parallel plan: the dimension that is cut, by the end of the name; what is not listed is whole on every rank.
TENSOR_PARALLEL = {
    # torchtitan's names
    "tok_embeddings.weight": 0,
    "wq.weight": 0,
    "wk.weight": 0,
    "wv.weight": 0,
    "wo.weight": 1,
    "w1.weight": 0,
    "w3.weight": 0,
    "w2.weight": 1,
    "w1_EFD": 1,
    "w3_EFD": 1,
    "w2_EDF": 2,
    # Hugging Face's names
    "embed_tokens.weight": 0,
    "lm_head.weight": 0,
    "q_proj.weight": 0,
    "k_proj.weight": 0,
    "v_proj.weight": 0,
    "o_proj.weight": 1,
    "gate_proj.weight": 0,
    "up_proj.weight": 0,
    "down_proj.weight": 1,
    "experts.gate_up_proj": 2,
    "experts.down_proj": 1,
}


def rows():
    return Shard(0)


def placement_of(name, kind):
    """The placement of a parameter on a mesh of one dimension; None for what is no DTensor. `kind`: "fsdp" or "tp"."""
    if name.endswith("expert_bias_E"):
        return None
    if kind == "fsdp":
        return rows()
    cut = next((dim for end, dim in TENSOR_PARALLEL.items() if name.endswith(end)), None)
    return Replicate() if cut is None else Shard(cut)


def contiguous_strides(shape):
    return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))


def wrap_shard(local, shape, mesh, placement):
    """A DTensor of `shape` whose part on this rank is `local`."""
    meta = TensorMeta(torch.Size(shape), contiguous_strides(shape), local.dtype)
    return DTensor(local, DTensorSpec(mesh, (placement,), tensor_meta=meta), requires_grad=False)


def empty_shard(shape, mesh, placement, dtype=torch.bfloat16):
    if placement is None:
        return torch.empty(shape, dtype=dtype)
    local_shape, _ = compute_local_shape_and_global_offset(shape, mesh, (placement,))
    return wrap_shard(torch.empty(local_shape, dtype=dtype), shape, mesh, placement)
