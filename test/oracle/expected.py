"""What the trainer must find in the checkpoint, computed by torch from the saved Hugging Face files alone.

This is the oracles' own statement of torchtitan's key mapping: views, transposes and stacks of torch, no line shared
with the TypeScript recipes. Sources: torchtitan `models/{llama3,llama4,qwen3}/model/state_dict_adapter.py`, as of
2026-06-08 ("june") and of main b5bcd76c, 2026-08-21 ("main").
"""

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from expected_moe import moe_state
from expected_multimodal import family_of, multimodal_state

TOP_LEVEL = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "lm_head.weight",
}
EXPERTS = {"june": "moe.experts", "main": "moe.routed_experts.inner_experts"}
NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"}
FEED_FORWARD = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
STACKED = {"gate_proj": "w1_EFD", "up_proj": "w3_EFD", "down_proj": "w2_EDF"}


def read_model(directory):
    """All tensors of a local snapshot, by name."""
    tensors = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                assert name not in tensors, f"{name} is saved twice"
                tensors[name] = file.get_tensor(name)
    return tensors


def layer_of(name):
    """Number of the layer a tensor belongs to, by either naming; -1 outside the layers."""
    match = re.search(r"(?:^|[._])(?:layers|blocks)\.(\d+)\.", name)
    return int(match[1]) if match else -1


def interleave_rotary_halves(weight, heads):
    """Hugging Face keeps the two rotary halves of a head apart; torchtitan's llama3 keeps each pair together."""
    rows, columns = weight.shape
    halves = weight.view(heads, 2, rows // heads // 2, columns)
    return halves.transpose(1, 2).reshape(rows, columns)


def torchtitan_state(config, tensors, names):
    """The state dict torchtitan would hold: key → tensor, a view where it can be. `names` is "june" or "main"."""
    if family_of(config):
        return multimodal_state(config, tensors, names)
    if config["model_type"] in ("deepseek_v3", "gpt_oss", "kimi_k25"):
        return moe_state(config, tensors, names)
    text = config.get("text_config", config)
    family = {"llama": "llama3", "llama4": "llama4", "llama4_text": "llama4"}.get(config["model_type"], "qwen3")
    state, stacks = {}, {}
    for name, tensor in tensors.items():
        if name.startswith(("vision_model.", "multi_modal_projector.")):
            continue
        name = name.removeprefix("language_model.")
        if name in TOP_LEVEL:
            state[TOP_LEVEL[name]] = tensor
            continue
        layer, rest = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name).groups()
        put_layer_tensor(state, stacks, f"layers.{layer}.", rest, tensor, text, family, names)
    for key, parts in stacks.items():
        state[key] = torch.stack([parts[expert] for expert in sorted(parts)])
    state.setdefault("lm_head.weight", state["tok_embeddings.weight"])
    return state


def put_layer_tensor(state, stacks, layer, rest, tensor, text, family, names):
    parts = rest.removesuffix(".weight").split(".")
    experts = f"{layer}{EXPERTS[names]}."
    match parts:
        case ["self_attn", ("q_proj" | "k_proj" | "v_proj") as kind]:
            if family == "llama3" and kind != "v_proj":
                heads = text["num_attention_heads" if kind == "q_proj" else "num_key_value_heads"]
                tensor = interleave_rotary_halves(tensor, heads)
            state[f"{layer}attention.qkv_linear.w{kind[0]}.weight"] = tensor
        case ["self_attn", "o_proj"]:
            state[f"{layer}attention.wo.weight"] = tensor
        case ["self_attn", ("q_norm" | "k_norm") as norm]:
            state[f"{layer}attention.{norm}.weight"] = tensor
        case [("input_layernorm" | "post_attention_layernorm") as norm]:
            state[f"{layer}{NORMS[norm]}.weight"] = tensor
        case [("mlp" | "feed_forward"), ("gate_proj" | "up_proj" | "down_proj") as kind]:
            state[f"{layer}feed_forward.{FEED_FORWARD[kind]}.weight"] = tensor
        case ["feed_forward", "shared_expert", kind]:
            state[f"{layer}moe.shared_experts.{FEED_FORWARD[kind]}.weight"] = tensor
        case ["mlp", "gate"] | ["feed_forward", "router"]:
            state[f"{layer}moe.router.gate.weight"] = tensor
            state[f"{layer}moe.expert_bias_E"] = torch.zeros(tensor.shape[0], dtype=torch.float32)
        case ["feed_forward", "experts", "gate_up_proj"]:
            gate, up = tensor.chunk(2, dim=2)
            state[f"{experts}w1_EFD"] = gate.mT
            state[f"{experts}w3_EFD"] = up.mT
        case ["feed_forward", "experts", "down_proj"]:
            state[f"{experts}w2_EDF"] = tensor.mT
        case ["mlp", "experts", expert, kind]:
            stacks.setdefault(f"{experts}{STACKED[kind]}", {})[int(expert)] = tensor
        case _:
            raise KeyError(f"{layer}{rest}")


def write_expected(job):
    """Writes the state dict to `job["file"]`; `names` None keeps Hugging Face's own, `dtype` casts as `Tensor.to` does."""
    state = read_model(job["model"])
    if job["names"]:
        config = json.loads((Path(job["model"]) / "config.json").read_text())
        state = torchtitan_state(config, state, job["names"])
    dtype = getattr(torch, job["dtype"]) if job.get("dtype") else None
    save_file(
        {
            # Cloned, because safetensors refuses tensors that share memory (tied embeddings) or are transposed.
            key: (tensor if dtype is None or key.endswith("expert_bias_E") else tensor.to(dtype)).clone(
                memory_format=torch.contiguous_format
            )
            for key, tensor in state.items()
        },
        job["file"],
    )
    return {"keys": len(state)}
