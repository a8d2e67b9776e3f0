"""torchtitan's flux in the sizes of the `config.json` of a diffusers transformer."""

from torchtitan.models import flux
from torchtitan.models.common import Linear

from torchtitan_models import set_eps

WIDTH_OF_TIME = 256


def linear(rows, columns):
    return Linear.Config(in_features=columns, out_features=rows, bias=True)


def embedder(hidden, width):
    return flux.MLPEmbedder.Config(
        in_dim=width, hidden_dim=hidden, in_layer=linear(hidden, width), out_layer=linear(hidden, hidden)
    )


def build(config):
    heads, channels, axes = config.num_attention_heads, config.in_channels, tuple(config.axes_dims_rope)
    hidden = heads * config.attention_head_dim
    blocks = dict(hidden_size=hidden, num_heads=heads, mlp_ratio=4.0)
    titan = flux.FluxModel.Config(
        in_channels=channels,
        out_channels=channels,
        vec_in_dim=config.pooled_projection_dim,
        context_in_dim=config.joint_attention_dim,
        hidden_size=hidden,
        num_heads=heads,
        axes_dim=axes,
        img_in=linear(hidden, channels),
        txt_in=linear(hidden, config.joint_attention_dim),
        clip_encoder=flux.FluxEmbedder.Config(version=""),
        t5_encoder=flux.FluxEmbedder.Config(version=""),
        pe_config=flux.EmbedND.Config(dim=config.attention_head_dim, theta=10_000, axes_dim=axes),
        time_in_config=embedder(hidden, WIDTH_OF_TIME),
        vector_in_config=embedder(hidden, config.pooled_projection_dim),
        double_blocks=[flux._make_double_block_config(**blocks, qkv_bias=True) for _ in range(config.num_layers)],
        single_blocks=[flux._make_single_block_config(**blocks) for _ in range(config.num_single_layers)],
        final_layer_config=flux.LastLayer.Config(
            hidden_size=hidden,
            patch_size=1,
            out_channels=channels,
            linear=linear(channels, hidden),
            adaln_linear=linear(2 * hidden, hidden),
        ),
    )
    set_eps(titan, 1e-6)
    return titan.build().eval()
