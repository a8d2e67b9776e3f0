"""As `logits.py`, for the layer of DeepSeek-V3 that predicts one token more: torchtitan's against the `MtpModel` of transformers."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import torchtitan_on_cpu
from logits import TOKENS, attention_masks, load, load_reference, report
from tiny_models import MODELS, build, draw_parameter


@torch.no_grad()
def save(job):
    """The tiny DeepSeek-V3, and a layer as its last, with what is around it, as in the published files."""
    path = Path(job["directory"])
    build("deepseek_v3").save_pretrained(path)
    tensors = load_file(path / "model.safetensors")
    layers = MODELS["deepseek_v3"]()[1].num_hidden_layers
    last, more = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    hidden = tensors["model.norm.weight"].numel()
    shapes = {more + name.removeprefix(last): value.shape for name, value in tensors.items() if name.startswith(last)}
    for name in ("enorm", "hnorm", "shared_head.norm"):
        shapes[f"{more}{name}.weight"] = (hidden,)
    shapes[f"{more}eh_proj.weight"] = (hidden, 2 * hidden)
    generator = torch.Generator().manual_seed(8)
    for name, shape in shapes.items():
        tensors[name] = torch.ones(shape)
        draw_parameter(tensors[name], generator)
    tensors[f"{more}embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors[f"{more}shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 1}))
    return {}


@torch.no_grad()
def compare(job):
    reference = load_reference(job["model"])
    model = torchtitan_on_cpu.import_models().build(reference.config, mtp=1)
    load(model, job["checkpoint"])
    tokens = torch.arange(TOKENS)[None] * 37 % reference.config.vocab_size
    positions = torch.arange(TOKENS)[None]
    with torchtitan_on_cpu.forward_pass():
        _, actual = model(tokens, positions=positions, attention_masks=attention_masks(model, positions))
    # The last token has none after it.
    return report(model, predict(reference, tokens), actual[:, :-1])


def predict(reference, tokens):
    """Logits of the tokens after the next, of what the main model makes before its last norm."""
    from transformers.modeling_layers import MtpModel

    # transformers looks for layer 61, which is that of the published model.
    reference._keys_to_ignore_on_load_unexpected = [rf"model\.layers\.{reference.config.num_hidden_layers}\."]
    mtp = MtpModel.from_pretrained(reference).eval()
    seen = []
    hook = reference.model.norm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    reference(tokens)
    hook.remove()
    positions = torch.arange(1, TOKENS)[None]
    hidden = mtp.forward_layer(0, seen[0][:, :-1], positions, None, input_ids=tokens[:, 1:])
    return reference.lm_head(hidden)
