"""Multi-head latent attention over a past of any length, in plain torch.

DeepSeek-V2 (arXiv:2405.04434, section 2.1): keys and values of a token are expanded from one latent vector by kv_b; the
rotary part of the key is shared by all heads. Attention over two sets of keys is the mean of the two outputs, weighted
by exp of their log-sum-exp: so the past may be taken in blocks.
"""

import torch
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float, *, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention and the log-sum-exp of its scores, computed in float32.

    Args:
        query: (heads, n, d).
        key: (heads, m, d).
        value: (heads, m, dv).
        scale: factor on the scores.
        causal: whether query i sees keys 0 to i only; then n = m.

    Returns:
        (heads, n, dv) and (heads, n), float32 (float64 for float64).
    """
    kind = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(kind) @ key.to(kind).mT * scale
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    total = scores.logsumexp(-1)
    return torch.exp(scores - total.unsqueeze(-1)) @ value.to(kind), total


def merge(out: Tensor, total: Tensor, more: Tensor, more_total: Tensor) -> tuple[Tensor, Tensor]:
    """The attention over two disjoint sets of keys, from that over each: outputs (…, n, dv), log-sum-exps (…, n)."""
    both = torch.logaddexp(total, more_total)
    first = torch.exp(total - both).unsqueeze(-1)
    second = torch.exp(more_total - both).unsqueeze(-1)
    return out * first + more * second, both


def expand(latent: Tensor, kv_b: Tensor, heads: int, nope: int) -> tuple[Tensor, Tensor]:
    """Keys and values of tokens from their cache entries.

    Args:
        latent: (m, rank + rope): the latent vector, then the rotated key that all heads share.
        kv_b: (heads * (nope + dv), rank).
        heads: number of heads.
        nope: width of a key's part without rotation.

    Returns:
        (heads, m, nope + rope) and (heads, m, dv).
    """
    rank = kv_b.shape[1]
    both = (latent[:, :rank] @ kv_b.mT).view(latent.shape[0], heads, -1).transpose(0, 1)
    rope = latent[:, rank:].unsqueeze(0).expand(heads, -1, -1)
    return torch.cat([both[..., :nope], rope], -1), both[..., nope:]


def latent_attention(query: Tensor, latent: Tensor, kv_b: Tensor, nope: int, scale: float) -> Tensor:
    """Attention of the last tokens of a sequence to all of it, in one piece: the reference for blocks.

    Args:
        query: (heads, n, nope + rope) of the last n tokens.
        latent: (m, rank + rope), the cache entries of all m >= n tokens.
        kv_b: (heads * (nope + dv), rank).
        nope: width of a key's part without rotation.
        scale: factor on the scores.

    Returns:
        (heads, n, dv), float32 (float64 for float64).
    """
    heads, n, _ = query.shape
    key, value = expand(latent, kv_b, heads, nope)
    past = latent.shape[0] - n
    out, total = attend(query, key[:, past:], value[:, past:], scale, causal=True)
    if past:
        out, total = merge(out, total, *attend(query, key[:, :past], value[:, :past], scale, causal=False))
    return out
