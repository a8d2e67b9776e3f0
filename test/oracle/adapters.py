"""Holds `expected.py` against torchtitan's own adapters: their hashes of every tensor they make.

A fixture lists source tensors (element i of `name` is the u32 fnv1a32(name) + i · 2654435761) and the sha256 of what
torchtitan made of them, so that the oracle's judgement is torchtitan's and not merely a second opinion of ours.
"""

import hashlib
import json
from pathlib import Path

import numpy
import torch

from expected import layer_of, torchtitan_state

# What config.json says beside the numbers of attention heads.
CONFIGS = {
    "llama3": {"model_type": "llama"},
    "llama4": {"model_type": "llama4"},
    "qwen3": {"model_type": "qwen3"},
    "deepseek_v3": {"model_type": "deepseek_v3"},
    "gpt_oss": {"model_type": "gpt_oss"},
    "kimi_k2_7": {"model_type": "kimi_k25"},
    "qwen3_5": {"model_type": "qwen3_5"},
    "qwen3_vl": {"model_type": "qwen3_vl"},
    # The fixture does not say how many heads the vision encoder has: `_muse_glimmer_debugmodel_mm` does.
    "muse_glimmer": {"model_type": "muse_glimmer", "vision_config": {"num_attention_heads": 4}},
    "flux": {"_class_name": "FluxTransformer2DModel"},
}


def fnv1a32(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def pattern(name, shape):
    count = torch.Size(shape).numel()
    elements = numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(2654435761) + numpy.uint32(fnv1a32(name.encode()))
    return torch.from_numpy(elements.view(numpy.int32)).view(*shape)


def compare_adapter(job):
    """Keys whose bytes differ from torchtitan's, and keys that only one side has."""
    adapter = json.loads(Path(job["fixture"]).read_text())
    heads = adapter.get("attention", {})
    text = {
        "num_attention_heads": heads.get("n_heads"),
        "num_key_value_heads": heads.get("n_kv_heads") or heads.get("n_heads"),
    }
    config = {**CONFIGS[adapter["module"]], **text, "text_config": text}
    # Layers repeat: the first few show every rule.
    sources = {
        name: pattern(name, shape) for name, shape in adapter["source"].items() if layer_of(name) < job["layers"]
    }
    state = torchtitan_state(config, sources, adapter["tree"])
    hashes = {key: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for key, tensor in state.items()}
    expected = {key: made["sha256"] for key, made in adapter["expected"].items() if layer_of(key) < job["layers"]}
    return {
        "compared": len(expected),
        "different": [key for key, digest in expected.items() if hashes.get(key) != digest],
        "extra": sorted(set(hashes) - set(expected)),
        "notProduced": sorted(adapter["not_produced"]),
    }
