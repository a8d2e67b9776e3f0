"""As `expected.py`, for DeepSeek V3, Kimi K2 and gpt-oss, and what their quantised weights mean.

Sources: torchtitan main b5bcd76c, 2026-08-21, `models/{deepseek_v3,kimi_k2_7}/state_dict_adapter.py`; for gpt-oss the names of
`models/gpt_oss/model.py` and `moe.py`, because its adapter loads no experts. Formats: transformers 5.23,
`integrations/finegrained_fp8.py` and `integrations/mxfp4.py`.
"""

import re

import torch

FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
EXPERTS = {"june": "moe.experts", "main": "moe.routed_experts.inner_experts"}
TOP_LEVEL = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "lm_head.weight",
}
NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"}
FEED_FORWARD = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
STACKED = {"gate_proj": "w1_EFD", "up_proj": "w3_EFD", "down_proj": "w2_EDF"}
LATENT = {
    "q_proj": "wq",
    "q_a_proj": "wq_a",
    "q_a_layernorm": "q_norm",
    "q_b_proj": "wq_b",
    "kv_a_proj_with_mqa": "wkv_a",
    "kv_a_layernorm": "kv_norm",
    "kv_b_proj": "wkv_b",
    "o_proj": "wo",
}
GPT_EXPERTS = {
    "gate_up_proj": "mlp1_weight_EGD",
    "gate_up_proj_bias": "mlp1_bias_EG",
    "down_proj": "mlp2_weight_EDF",
    "down_proj_bias": "mlp2_bias_ED",
}


def dequantise(config, tensors):
    """The tensors of a bf16 export: every quantised weight as the float32 product, rounded once."""
    method = config.get("text_config", config).get("quantization_config")
    if method is None:
        return tensors
    plain = {}
    for name, tensor in tensors.items():
        if (scales := tensors.get(f"{name}_scale_inv")) is not None:
            rows, columns = method["weight_block_size"]
            spread = scales.float().repeat_interleave(rows, -2)[..., : tensor.shape[-2], :]
            spread = spread.repeat_interleave(columns, -1)[..., : tensor.shape[-1]]
            plain[name] = (tensor.float() * spread).bfloat16()
        elif name.endswith("_blocks"):
            scales = tensors[name.replace("_blocks", "_scales")]
            pairs = torch.stack([tensor & 15, tensor >> 4], -1).flatten(-2).long()
            values = FP4[pairs] * torch.exp2(scales.float() - 127)[..., None]
            plain[name.removesuffix("_blocks")] = values.flatten(-2).mT.bfloat16()
        elif not name.endswith(("_scale_inv", "_scales")):
            plain[name] = tensor
    return plain


def moe_state(config, tensors, names):
    tensors = dequantise(config, tensors)
    put_layer = put_gpt_oss if config["model_type"] == "gpt_oss" else put_deepseek
    state, stacks = {}, {}
    for name, tensor in tensors.items():
        name = name.removeprefix("language_model.")
        if name in TOP_LEVEL:
            state[TOP_LEVEL[name]] = tensor
        elif match := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name):
            put_layer(state, stacks, f"layers.{match[1]}.", match[2], tensor, names)
        else:
            put_vision(state, name, tensor)
    for key, parts in stacks.items():
        state[key] = torch.stack([parts[expert] for expert in sorted(parts)])
    return state


def put_deepseek(state, stacks, layer, rest, tensor, names):
    match rest.removesuffix(".weight").split("."):
        case ["self_attn", kind]:
            state[f"{layer}attention.{LATENT[kind]}.weight"] = tensor
        case ["mlp", "gate"]:
            state[f"{layer}moe.router.gate.weight"] = tensor
        case ["mlp", "gate", "e_score_correction_bias"]:
            state[f"{layer}moe.expert_bias_E"] = tensor.float() if tensor.is_floating_point() else tensor
        case ["mlp", "experts", expert, kind]:
            stacks.setdefault(f"{layer}{EXPERTS[names]}.{STACKED[kind]}", {})[int(expert)] = tensor
        case ["mlp", "shared_experts", kind]:
            state[f"{layer}moe.shared_experts.{FEED_FORWARD[kind]}.weight"] = tensor
        case ["mlp", kind]:
            state[f"{layer}feed_forward.{FEED_FORWARD[kind]}.weight"] = tensor
        case [norm]:
            state[f"{layer}{NORMS[norm]}.weight"] = tensor


def put_gpt_oss(state, _stacks, layer, rest, tensor, names):
    match rest.split("."):
        case ["self_attn", "sinks"]:
            state[f"{layer}attention.sinks"] = tensor
        case ["self_attn", "o_proj", kind]:
            state[f"{layer}attention.wo.{kind}"] = tensor
        case ["self_attn", projection, kind]:
            state[f"{layer}attention.qkv_linear.w{projection[0]}.{kind}"] = tensor
        case ["mlp", "router", kind]:
            state[f"{layer}moe.router.gate.{kind}"] = tensor
            state[f"{layer}moe.expert_bias_E"] = torch.zeros(tensor.shape[0])
        case ["mlp", "experts", kind]:
            state[f"{layer}{EXPERTS[names]}.{GPT_EXPERTS[kind]}"] = tensor.mT if tensor.dim() == 3 else tensor
        case [norm, "weight"]:
            state[f"{layer}{NORMS[norm]}.weight"] = tensor


VISION = [
    (r"vision_tower\.encoder\.blocks\.(\d+)\.norm1\.", r"vision_encoder.layers.\1.norm2."),
    (r"vision_tower\.encoder\.blocks\.(\d+)\.norm0\.", r"vision_encoder.layers.\1.norm1."),
    (r"vision_tower\.encoder\.blocks\.(\d+)\.wo\.", r"vision_encoder.layers.\1.attn.proj."),
    (r"vision_tower\.encoder\.blocks\.(\d+)\.mlp\.fc1\.", r"vision_encoder.layers.\1.mlp.linear_fc2."),
    (r"vision_tower\.encoder\.blocks\.(\d+)\.mlp\.fc0\.", r"vision_encoder.layers.\1.mlp.linear_fc1."),
    (r"vision_tower\.encoder\.final_layernorm\.", "vision_encoder.final_norm."),
    (r"vision_tower\.patch_embed\.pos_emb\.weight", "vision_encoder.pos_embed"),
    (r"vision_tower\.patch_embed\.proj\.", "vision_encoder.patch_embed."),
    (r"mm_projector\.pre_norm\.", "vision_encoder.projector.pre_norm."),
    (r"mm_projector\.proj\.0\.", "vision_encoder.projector.linear_1."),
    (r"mm_projector\.proj\.2\.", "vision_encoder.projector.linear_2."),
]


def put_vision(state, name, tensor):
    if match := re.fullmatch(r"vision_tower\.encoder\.blocks\.(\d+)\.wqkv\.(weight|bias)", name):
        for part, rows in zip("qkv", tensor.chunk(3)):
            state[f"vision_encoder.layers.{match[1]}.attn.w{part}.{match[2]}"] = rows
        return
    for before, after in VISION:
        renamed, count = re.subn(f"^{before}", after, name)
        if count:
            state[renamed] = tensor.flatten(1) if renamed.endswith("patch_embed.weight") else tensor
            return
    raise KeyError(name)
