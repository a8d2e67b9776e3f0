"""Sizes of tiny models, and how their classes of `transformers` are found."""

import transformers

SMALL = dict(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
    tie_word_embeddings=False,
)


def make(name, config, **changes):
    """A class of `transformers` by name, and its configuration: `SMALL` with `changes`."""
    return getattr(transformers, name), getattr(transformers, config)(**{**SMALL, **changes})


def with_vision(name, config, text, vision, **changes):
    """A model of text and images; `text` and `vision` are the configurations of its halves."""
    tokens = dict(image_token_id=250, video_token_id=251, vision_start_token_id=252, vision_end_token_id=253)
    fields = {**tokens, "tie_word_embeddings": False, **changes}
    known = getattr(transformers, config)
    fields = {key: value for key, value in fields.items() if hasattr(known, key)}
    return getattr(transformers, name), known(text_config={**SMALL, **text}, vision_config=vision, **fields)
