"""As `expected.py`, for models of more than text: Qwen 3.5, Qwen 3-VL, Muse Glimmer, and Flux.

Sources: torchtitan main b5bcd76c, 2026-08-21, `models/{qwen3_5,muse_glimmer}/state_dict_adapter.py`,
`models/flux/model/state_dict_adapter.py`; of 2026-06-09, `models/qwen3_vl/state_dict_adapter.py`. Sizes that split a tensor
are read from its neighbours, not from config.json.
"""

import re

import torch

EXPERTS = {"june": "moe.experts", "main": "moe.routed_experts.inner_experts"}
FEED_FORWARD = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
STACKED = {"gate_proj": "w1_EFD", "up_proj": "w3_EFD", "down_proj": "w2_EDF"}
PATCHES = {"qwen3_5": "patch_embed", "qwen3_vl": "patch_embed.proj"}
MUSE_NORMS = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffn_norm",
}
NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"}


def family_of(config):
    """`None` for a model of text alone."""
    if config.get("_class_name") == "FluxTransformer2DModel":
        return "flux"
    return {
        "qwen3_5": "qwen3_5",
        "qwen3_5_moe": "qwen3_5",
        "qwen3_vl": "qwen3_vl",
        "qwen3_vl_moe": "qwen3_vl",
        "muse_glimmer": "muse_glimmer",
    }.get(config.get("model_type"))


def multimodal_state(config, tensors, names):
    family = family_of(config)
    if family == "flux":
        return flux_state(tensors)
    if family == "muse_glimmer":
        return muse_state(config, tensors)
    return qwen_state(tensors, family, names)


def qwen_state(tensors, family, names):
    state, stacks = {}, {}
    embedding = tensors["model.language_model.embed_tokens.weight"]
    for name, tensor in tensors.items():
        if name.startswith("model.visual."):
            put_qwen_vision(state, name.removeprefix("model.visual."), tensor, family)
        elif match := re.fullmatch(r"model\.language_model\.layers\.(\d+)\.(.+)", name):
            beside = f"model.language_model.layers.{match[1]}."
            experts = f"layers.{match[1]}.{EXPERTS[names]}."
            put_qwen_layer(state, stacks, match[1], match[2], tensor, family, experts, tensors, beside)
        elif not name.startswith("mtp."):
            state[
                {
                    "model.language_model.embed_tokens.weight": "tok_embeddings.weight",
                    "model.language_model.norm.weight": "norm.weight",
                    "lm_head.weight": "lm_head.weight",
                }[name]
            ] = tensor
    for key, parts in stacks.items():
        state[key] = torch.stack([parts[expert] for expert in sorted(parts)])
    state.setdefault("lm_head.weight", embedding)
    return state


def put_qwen_layer(state, stacks, number, rest, tensor, family, experts, tensors, beside):
    layer = f"layers.{number}."
    attention = f"{layer}attn." if family == "qwen3_5" else f"{layer}attention."
    projection = attention if family == "qwen3_5" else f"{attention}qkv_linear."
    match rest.removesuffix(".weight").split("."):
        case ["self_attn", ("q_proj" | "k_proj" | "v_proj") as kind]:
            state[f"{projection}w{kind[0]}.weight"] = tensor
        case ["self_attn", "o_proj"]:
            state[f"{attention}wo.weight"] = tensor
        case ["self_attn", norm]:
            state[f"{attention}{norm}.weight"] = tensor
        case ["linear_attn", ("in_proj_qkv" | "conv1d") as kind]:
            values = tensors[f"{beside}linear_attn.in_proj_z.weight"].shape[0]
            keys = (tensor.shape[0] - values) // 2
            to = "in_proj_" if kind == "in_proj_qkv" else "conv_"
            for part, rows in zip("qkv", tensor.split([keys, keys, values])):
                state[f"{attention}{to}{part}.weight"] = rows
        case ["linear_attn", *kind]:
            state[f"{attention}{rest.removeprefix('linear_attn.')}"] = tensor
        case [("input_layernorm" | "post_attention_layernorm") as norm]:
            state[f"{layer}{NORMS[norm]}.weight"] = tensor
        case ["mlp", ("gate_proj" | "up_proj" | "down_proj") as kind]:
            state[f"{layer}feed_forward.{FEED_FORWARD[kind]}.weight"] = tensor
        case ["mlp", "gate"]:
            state[f"{layer}moe.router.gate.weight"] = tensor
            state[f"{layer}moe.expert_bias_E"] = torch.zeros(tensor.shape[0], dtype=torch.float32)
        case ["mlp", "shared_expert", kind]:
            state[f"{layer}moe.shared_experts.{FEED_FORWARD[kind]}.weight"] = tensor
        case ["mlp", "shared_expert_gate"]:
            state[f"{layer}moe.shared_experts.gate.weight"] = tensor
        case ["mlp", "experts", expert, kind]:
            stacks.setdefault(f"{experts}{STACKED[kind]}", {})[int(expert)] = tensor
        case ["mlp", "experts", "gate_up_proj"]:
            hidden = tensors[f"{beside}input_layernorm.weight"].shape[0]
            down = tensors[f"{beside}mlp.experts.down_proj"]
            is_plain = tensor.shape[2] == hidden and down.shape[1:] == (hidden, tensor.shape[1] // 2)
            if not is_plain:
                tensor, down = tensor.mT, down.mT
            state[f"{experts}w1_EFD"], state[f"{experts}w3_EFD"] = tensor.chunk(2, dim=1)
            state[f"{experts}w2_EDF"] = down
        case ["mlp", "experts", "down_proj"]:
            pass
        case _:
            raise KeyError(f"{layer}{rest}")


def put_qwen_vision(state, name, tensor, family):
    to = "vision_encoder."
    if match := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", name):
        attention = f"{to}layers.{match[1]}.attn."
        if family == "qwen3_vl":
            state[f"{attention}qkv.{match[2]}"] = tensor
        else:
            for part, rows in zip("qkv", tensor.chunk(3)):
                state[f"{attention}w{part}.{match[2]}"] = rows
    elif name == "pos_embed.weight":
        state[f"{to}pos_embed"] = tensor
    elif name.startswith("patch_embed.proj."):
        state[f"{to}{PATCHES[family]}.{name.split('.')[-1]}"] = tensor.flatten(1) if tensor.dim() > 1 else tensor
    else:
        state[to + re.sub(r"^blocks\.", "layers.", name)] = tensor


def interleave(tensor, heads):
    """Rows, or elements of a bias, of each head: the pairs of its two halves side by side."""
    halves = tensor.unflatten(0, (heads, 2, -1))
    return halves.transpose(1, 2).flatten(0, 2)


def muse_state(config, tensors):
    text = config["text_config"]
    vision_heads = config["vision_config"]["num_attention_heads"]
    heads = {"q_proj": text["num_attention_heads"], "k_proj": text["num_key_value_heads"]}
    state = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"model\.language_model\.layers\.(\d+)\.(.+)\.weight", name):
            layer = f"layers.{match[1]}."
            match match[2].split("."):
                case ["self_attn", ("q_proj" | "k_proj" | "v_proj") as kind]:
                    rows = interleave(tensor, heads[kind]) if kind in heads else tensor
                    state[f"{layer}attention.qkv_linear.w{kind[0]}.weight"] = rows
                case ["self_attn", kind]:
                    state[f"{layer}attention.{ {'o_proj': 'wo', 'gate_proj': 'o_gate'}[kind] }.weight"] = tensor
                case ["mlp", kind]:
                    state[f"{layer}feed_forward.{FEED_FORWARD[kind]}.weight"] = tensor
                case [norm]:
                    state[f"{layer}{MUSE_NORMS[norm]}.weight"] = tensor
        elif match := re.fullmatch(r"model\.vision_tower\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            block = f"vision_encoder.layers.{match[1]}."
            match match[2].split("."):
                case ["attn", ("q_proj" | "k_proj" | "v_proj") as kind]:
                    rows = tensor if kind == "v_proj" else interleave(tensor, vision_heads)
                    state[f"{block}attn.w{kind[0]}.{match[3]}"] = rows
                case ["mlp", kind]:
                    state[f"{block}mlp.linear_{kind}.{match[3]}"] = tensor
                case other:
                    state[f"{block}{'.'.join(other)}.{match[3]}"] = tensor
        else:
            state[muse_name(name)] = tensor
    return state


def muse_name(name):
    renamed = {
        "model.language_model.embed_tokens.weight": "tok_embeddings.embedding.weight",
        "model.language_model.norm.weight": "norm.weight",
        "lm_head.weight": "lm_head.weight",
        "model.vision_projection.weight": "vision_projection.weight",
        "model.vision_adapter.fc1.weight": "vision_adapter.c_fc.weight",
        "model.vision_adapter.fc2.weight": "vision_adapter.c_proj.weight",
        "model.vision_tower.patch_embedder.patch_embedding.weight": "vision_encoder.conv1_linear.weight",
        "model.vision_tower.patch_embedder.position_embedding_table.weight": "vision_encoder.positional_embedding_vlm",
    }
    if name in renamed:
        return renamed[name]
    outer = re.fullmatch(r"model\.vision_tower\.(ln_(?:pre|post)\.(?:weight|bias))", name)
    return f"vision_encoder.{outer[1]}"


FLUX_OUTER = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
FLUX_SINGLE = {
    "norm.linear": "modulation.lin",
    "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
    "proj_out": "linear2",
}
# Layers of torchtitan's model that hold several of diffusers', in this order.
FLUX_JOINED = {
    "transformer_blocks": {
        "img_attn.qkv": ["attn.to_q", "attn.to_k", "attn.to_v"],
        "txt_attn.qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    },
    "single_transformer_blocks": {"linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]},
}
FLUX_BLOCKS = {
    "transformer_blocks": ("double_blocks", FLUX_DOUBLE),
    "single_transformer_blocks": ("single_blocks", FLUX_SINGLE),
}


def flux_state(tensors):
    state = {}
    for name, tensor in tensors.items():
        path, kind = name.rsplit(".", 1)
        if path.startswith("time_text_embed.guidance_embedder."):
            continue
        if path in FLUX_OUTER:
            # Shift and scale change places.
            state[f"{FLUX_OUTER[path]}.{kind}"] = (
                torch.cat(tensor.chunk(2)[::-1]) if path == "norm_out.linear" else tensor
            )
            continue
        stack, number, rest = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", path).groups()
        to, renamed = FLUX_BLOCKS[stack]
        if rest in renamed:
            state[f"{to}.{number}.{renamed[rest]}.{kind}"] = tensor
            continue
        for joined, parts in FLUX_JOINED[stack].items():
            if rest == parts[0]:
                whole = [tensors[f"{stack}.{number}.{part}.{kind}"] for part in parts]
                state[f"{to}.{number}.{joined}.{kind}"] = torch.cat(whole)
    return state
