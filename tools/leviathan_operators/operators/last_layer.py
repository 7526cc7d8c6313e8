"""The last layer of a chunk: only the last position leads to logits, so it alone is computed there.

All positions are written to the KV cache. The experts of this layer then serve one token, so they are not streamed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from .attention import ChunkedLatentAttention
from .latent_cache import LatentCache


class LastLayer:
    """The forward of the last layer; with `every`, of one token, and with upstream's cache, what it was before."""

    def __init__(self, layer: Any) -> None:
        """`layer`: a decoder layer of upstream, whose attention is a `ChunkedLatentAttention`."""
        self._layer, self._otherwise = layer, layer.forward
        self.every = False

    def __call__(self, hidden_states: Tensor, *arguments: Any, **named: Any) -> tuple[Any, ...]:
        """Maps a chunk (1, n, hidden) to (1, 1, hidden); arguments and result are those of upstream's layer."""
        cache, layer = named.get("past_key_value"), self._layer
        if self.every or hidden_states.shape[1] == 1 or not isinstance(cache, LatentCache):
            return self._otherwise(hidden_states, *arguments, **named)  # type: ignore[no-any-return]
        places = (named.get("position_ids"), cache, named.get("cache_position"))
        middle = hidden_states[:, -1:] + layer.self_attn.chunk(layer.input_layernorm(hidden_states), *places, queries=1)
        out = middle + layer.mlp(layer.post_attention_layernorm(middle))
        return (out, cache) if named.get("use_cache") else (out,)


def last_position_only(model: Any) -> None:
    """Makes a loaded model compute its last layer for the last position; call it after all other changes of layers."""
    last = model.model.layers[-1]
    if isinstance(last.self_attn, ChunkedLatentAttention):
        last.forward = LastLayer(last)


@contextmanager
def every_position(model: Any) -> Iterator[None]:
    """Makes the last layer compute all positions of a chunk."""
    forward = model.model.layers[-1].forward
    if not isinstance(forward, LastLayer):
        yield
        return
    forward.every = True
    try:
        yield
    finally:
        forward.every = False
