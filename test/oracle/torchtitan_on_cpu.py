"""Makes torchtitan's model code run on a CPU, in float32. What a model computes stays torchtitan's; only this is exchanged:

* imports that need Triton, which torch for CPUs has not, or packages for data and displays. Nothing behind them is called, but
  for `fla`'s gated delta rule, which is computed by its definition.
* flex attention runs as torch's eager code: compiling it changes its speed only.
* experts are multiplied in the dtype of their weights, where torchtitan rounds to bfloat16 for the GPU's grouped GEMM. With that
  rounding a comparison would have to tolerate a percent, in which a wrong map could hide.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
from importlib import metadata

import torch
from torch.nn.attention import flex_attention


class Absent(types.ModuleType):
    """A module of which everything can be imported and nothing be called."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_arguments, **_options):
            raise NotImplementedError(f"{self.__name__}.{name} is not there on a CPU")

        # A class, so that others can be derived from it.
        return type(name, (), {"__new__": missing})


def gated_delta_rule(q, k, v, g, beta, use_qk_l2norm_in_kernel, cu_seqlens, cu_seqlens_cpu):
    """The recurrence that `fla` computes by chunks, token by token; `q`, `k`, `v`: batch, tokens, heads, dim."""
    assert use_qk_l2norm_in_kernel and cu_seqlens is None and cu_seqlens_cpu is None
    q, k = (x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6) for x in (q, k))
    state = k.new_zeros(*k.shape[:1], *k.shape[2:], v.shape[-1])
    out = []
    for t in range(q.shape[1]):
        state = state * g[:, t].exp()[..., None, None]
        known = torch.einsum("bhkv,bhk->bhv", state, k[:, t])
        learned = (v[:, t] - known) * beta[:, t, :, None]
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], learned)
        out.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]) * q.shape[-1] ** -0.5)
    return torch.stack(out, 1), None


# By release: what its models import and what of it must be more than a name.
ABSENT = {
    "0.2": {
        "torchtitan.models.moe.kernels": {},
        "torchdata.stateful_dataloader": {},
        "datasets.distributed": {},
        "torch.utils.tensorboard": {},
    },
    "0.3": {
        "torchtitan.distributed.minimal_async_ep.kernels": {},
        "torchtitan.models.flux.flux_datasets": {},
        "fla.modules.conv.triton.ops": {"CausalConv1dFunction": torch.autograd.Function},
        "fla.ops.gated_delta_rule": {"chunk_gated_delta_rule": gated_delta_rule},
        "fla.ops.gated_delta_rule.chunk": {"ChunkGatedDeltaRuleFunction": torch.autograd.Function},
        "fla.ops.gated_delta_rule.fused_recurrent": {"FusedRecurrentFunction": torch.autograd.Function},
    },
}


def release():
    """`0.2`, which has llama4, or `0.3`."""
    return metadata.version("torchtitan")[:3]


@contextlib.contextmanager
def absent_modules():
    """For imports only: transformers would use some of these where it finds them."""
    stand_ins = {}
    for name, content in ABSENT[release()].items():
        top = name.partition(".")[0]
        if top in stand_ins or importlib.util.find_spec(top) is None:
            packages = [name.rsplit(".", up)[0] for up in range(1, name.count(".") + 1)]
            stand_ins = {path: Absent(path) for path in packages} | stand_ins
        stand_ins[name] = Absent(name)
        vars(stand_ins[name]).update(content)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


@functools.cache
def import_models():
    """The module of this project that builds torchtitan's models."""
    with absent_modules():
        if release() == "0.2":
            return importlib.import_module("torchtitan_old")
        attention = importlib.import_module("torchtitan.models.common.attention")
        attention.FlexAttention._compiled_flex_attn = flex_attention.flex_attention
        attention._compiled_create_block_mask = flex_attention.create_block_mask
        vision = importlib.import_module("torchtitan.models.common.vision_encoder")
        vision.compiled_create_block_mask = flex_attention.create_block_mask
        flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True
        # Its parallel layouts are checked against a mesh, which one process does not have.
        importlib.import_module("torchtitan.distributed.utils").set_spmd_backend("partial_dtensor")
        importlib.import_module("torchtitan_flux")
        return importlib.import_module("torchtitan_models")


@contextlib.contextmanager
def exchanged(*changes):
    """Attributes, for a while: `(owner, name, value)`."""
    kept = [getattr(owner, name) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(changes, kept):
            setattr(owner, name, value)


def forward_pass():
    """What differs while a model runs."""
    if release() == "0.2":
        return exchanged((torch, "histc", count_experts))
    from torchtitan.models.common.moe import GroupedExperts

    # torchtitan itself exchanges this method for other precisions.
    return exchanged((torch.Tensor, "bfloat16", keep_dtype), (GroupedExperts, "_grouped_mm", grouped_mm))


def count_experts(chosen, bins, min, max, histc=torch.histc):
    """torch counts no integers on a CPU."""
    return histc(chosen.float(), bins=bins, min=min, max=max).to(chosen.dtype)


def keep_dtype(tensor):
    return tensor


def grouped_mm(_experts, *, A, B_t, offs):
    """Rows `offs[e - 1]:offs[e]` of `A` times `B_t[e]`."""
    ends = offs.tolist()
    return torch.cat([A[start:end] @ B_t[e] for e, (start, end) in enumerate(zip([0, *ends], ends))])
