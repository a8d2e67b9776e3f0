"""What the Python rivals share: the mapping between Hugging Face's and torchtitan's names, and the download."""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).parents[2] / "test/oracle"))

# The oracles' own statement of torchtitan's mapping, held against torchtitan's adapters in test/oracle.
from expected import torchtitan_state  # noqa: E402

NAMES = "june"


def read_config(model):
    return json.loads((Path(model) / "config.json").read_text())


def text_of(config):
    return config.get("text_config", config)


def read_shapes(model):
    """Shapes of all tensors of a local snapshot, by Hugging Face's names."""
    shapes = {}
    for path in sorted(Path(model).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                shapes[name] = tuple(file.get_slice(name).get_shape())
    return shapes


def target_shapes(config, shapes):
    """Shapes of torchtitan's tensors, by torchtitan's keys."""
    meta = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return {key: tuple(tensor.shape) for key, tensor in from_hf(config, meta).items()}


def from_hf(config, tensors):
    """torchtitan's state dict from tensors with Hugging Face's names: views wherever a view will do, as its adapter makes."""
    return torchtitan_state(config, tensors, NAMES)


def split_interleaved_pairs(weight, heads):
    """The way back from torchtitan's rotary pairs to Hugging Face's halves."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def to_hf(config, shapes, state):
    """Tensors with Hugging Face's names made of torchtitan's state dict: the same memory wherever it will do."""
    text = text_of(config)
    embedding = next(name for name in shapes if name.endswith("embed_tokens.weight"))
    tensors = {}
    for name, shape in shapes.items():
        one = {each: torch.empty(shapes[each], device="meta") for each in {embedding, name}}
        made = [key for key in from_hf(config, one) if name == embedding or key not in TOP_OF_EMBEDDING]
        if name.endswith("experts.gate_up_proj"):
            tensors[name] = torch.cat([state[key].mT for key in sorted(made)], dim=-1)
        elif name.endswith("experts.down_proj"):
            tensors[name] = state[made[0]].mT
        elif config["model_type"] == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = text["num_attention_heads" if name.endswith("q_proj.weight") else "num_key_value_heads"]
            tensors[name] = split_interleaved_pairs(state[made[0]], heads)
        else:
            tensors[name] = state["lm_head.weight" if name.endswith("lm_head.weight") else made[0]]
        assert tuple(tensors[name].shape) == shape, name
    return tensors


TOP_OF_EMBEDDING = {"tok_embeddings.weight", "lm_head.weight"}


def state_bytes(state):
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in state.values())


def download(job):
    """The local snapshot of `job["repo"]`, fetched by the official client with its defaults."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    return snapshot_download(job["repo"], cache_dir=job["cache"])
