"""llama4 of torchtitan 0.2, the last releases that have it, in the sizes of a `config.json`."""

from torchtitan.models.llama4 import Transformer, TransformerModelArgs
from torchtitan.models.moe import MoEArgs


def build(config):
    text = config.get_text_config()
    return Transformer(
        TransformerModelArgs(
            dim=text.hidden_size,
            n_layers=text.num_hidden_layers,
            n_heads=text.num_attention_heads,
            n_kv_heads=text.num_key_value_heads,
            vocab_size=text.vocab_size,
            multiple_of=2,
            norm_eps=text.rms_norm_eps,
            rope_theta=text.rope_parameters["rope_theta"],
            max_seq_len=text.max_position_embeddings,
            interleave_moe_layer_step=text.interleave_moe_layer_step,
            # The loop over experts, in the dtype of the weights.
            moe_args=MoEArgs(num_experts=text.num_local_experts, use_grouped_mm=False),
        )
    ).eval()
