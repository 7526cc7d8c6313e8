"""Attention of DeepSeek-V3 for the rule file: prompts in chunks over the paged cache, decoding as in upstream.

Upstream's prefill only reads keys and values of the chunk (0.2.1.post1, operators/attention.py, line 300). That is
correct for a prompt in one piece, but gives noise for every later chunk.
"""

from typing import Any

import torch
from ktransformers.models.modeling_deepseek import apply_rotary_pos_emb
from ktransformers.operators.attention import KDeepseekV2Attention
from torch import Tensor

from .blocks import attention
from .latent_cache import LatentCache


class ChunkedLatentAttention(KDeepseekV2Attention):
    """Multi-head latent attention; `past_key_value` is a `LatentCache`."""

    def get_absorbed(self) -> tuple[Tensor, Tensor]:
        """Returns the two parts of kv_b for decoding as views: (heads, nope, rank) and (heads, v, rank).

        Upstream copies them, 67 MB per layer.
        """
        both = self.kv_b_proj.weight.view(self.num_heads, -1, self.kv_lora_rank)
        return both[:, : self.qk_nope_head_dim], both[:, self.qk_nope_head_dim :]

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_value: Any = None,
        output_attentions: bool = False,
        use_cache: bool = False,
        cache_position: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None, Any]:
        """Computes one layer's attention of (1, n, hidden): a chunk for n > 1, a decode step for n = 1. Reads no mask.

        With upstream's cache, as in upstream's server, upstream's code runs.
        """
        if hidden_states.shape[1] == 1 or not isinstance(past_key_value, LatentCache):
            return self.forward_linux_triton(  # type: ignore[no-any-return]
                hidden_states,
                None,
                position_ids,
                past_key_value,
                output_attentions,
                use_cache,
                cache_position,
                **kwargs,
            )
        queries = hidden_states.shape[1]
        return self.chunk(hidden_states, position_ids, past_key_value, cache_position, queries), None, past_key_value

    def chunk(
        self, hidden: Tensor, position_ids: Tensor | None, cache: LatentCache, positions: Tensor | None, queries: int
    ) -> Any:
        """Writes a chunk, (1, n, hidden), to the cache; computes its last `queries` positions: (1, queries, hidden)."""
        n, asked = hidden.shape[1], hidden[:, -queries:]
        query = self.q_proj(asked) if self.q_lora_rank is None else self._low_rank_query(asked)
        query = query.view(1, queries, self.num_heads, self.q_head_dim)
        widths = [self.kv_lora_rank, self.qk_rope_head_dim]
        latent, rope = self.kv_a_proj_with_mqa(hidden).split(widths, dim=-1)
        latent = self.kv_a_layernorm(latent).view(1, n, 1, self.kv_lora_rank)
        rope = rope.view(1, n, 1, self.qk_rope_head_dim)
        cos, sin = self.rotary_emb(rope, position_ids)
        turned = _turn(query[..., self.qk_nope_head_dim :], cos[..., -queries:, :], sin[..., -queries:, :])
        rope = _turn(rope, cos, sin)
        query = torch.cat([query[..., : self.qk_nope_head_dim], turned], dim=-1)[0].transpose(0, 1)
        cache.update(latent, rope, self.layer_idx, {"cache_position": positions})

        def expand(first: int, last: int) -> tuple[Tensor, Tensor]:
            return self._keys_and_values(cache.latents(self.layer_idx, first, last))

        out = attention(query, expand, cache.start + n - queries, self.v_head_dim, self.softmax_scale)
        out = out.transpose(0, 1).reshape(1, queries, self.num_heads * self.v_head_dim)
        return self.o_proj(out)

    def _low_rank_query(self, hidden: Tensor) -> Any:
        return self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden)))

    def _keys_and_values(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys (heads, m, nope + rope) and values (heads, m, v) of cache entries (m, rank + rope)."""
        m, nope = entries.shape[0], self.qk_nope_head_dim
        # On a strided view, the product with kv_b would be slower on the CPU.
        both = self.kv_b_proj(entries[:, : self.kv_lora_rank].contiguous()).view(m, self.num_heads, -1)
        key = both.new_empty(m, self.num_heads, self.q_head_dim)
        key[..., :nope] = both[..., :nope]
        key[..., nope:] = entries[:, None, self.kv_lora_rank :]
        return key.transpose(0, 1), both[..., nope:].transpose(0, 1)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Any:
    """Rotates (1, n, heads, rope); upstream's function takes queries and keys of the same positions."""
    return apply_rotary_pos_emb(x, x[:, :, :1], cos, sin, unsqueeze_dim=2)[0]
