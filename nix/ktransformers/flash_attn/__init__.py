"""The two functions of flash-attn that KTransformers imports, over torch's scaled_dot_product_attention.

KTransformers calls flash_attn_func for prefill and only names flash_attn_with_kvcache (long-context attention, which
the DeepSeek rules do not use). The real package exists as source only: hours of nvcc for kernels that torch ships.
There is no dist-info on purpose: transformers would otherwise take this for the real package and import more from it.

Semantics: flash-attn 2.1 and later. Tensors are (batch, sequence, heads, head size); key and value heads may be fewer
than query heads if they divide them; a causal mask is aligned to the bottom right, so with more keys than queries the
last query sees every key; a query that sees no key gives zeros.
"""

import torch
from torch.nn import functional


def _causal_mask(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """(queries, keys) booleans: True where a query may look, aligned to the bottom right."""
    row = torch.arange(queries, device=device).unsqueeze(1)
    return torch.arange(keys, device=device).unsqueeze(0) <= row + (keys - queries)


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> torch.Tensor:
    """Attention of q (b, sq, hq, d) to k (b, sk, hk, d) and v (b, sk, hk, dv).

    Args:
        q: queries; hq is a multiple of hk.
        k: keys.
        v: values.
        dropout_p: probability of dropping an attention weight.
        softmax_scale: factor on q·k; 1/sqrt(d) when None.
        causal: whether query i sees keys up to i + sk - sq only.

    Returns:
        (b, sq, hq, dv), of q's dtype.
    """
    queries, keys = q.shape[1], k.shape[1]
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if k.shape[1] != q.shape[1]:
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    # torch's own is_causal is aligned to the top left: the same only for a square mask.
    square = causal and queries == keys
    mask = _causal_mask(queries, keys, q.device) if causal and not square and queries > 1 else None
    out = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout_p, is_causal=square, scale=softmax_scale
    )
    if mask is not None and queries > keys:
        out = out.masked_fill(~mask.any(dim=1).view(1, 1, -1, 1), 0.0)
    return out.transpose(1, 2)


def flash_attn_with_kvcache(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    cache_seqlens: torch.Tensor | int | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> torch.Tensor:
    """Attention of q (b, sq, hq, d) to the first cache_seqlens[b] entries of each cache (b, s, hk, d).

    Appending to the cache, rotary embedding and page tables of the real function are not here; asking for them is a
    TypeError, not a wrong answer.
    """
    lengths = [k_cache.shape[1]] * q.shape[0] if cache_seqlens is None else cache_seqlens
    if isinstance(lengths, int):
        lengths = [lengths] * q.shape[0]
    elif isinstance(lengths, torch.Tensor):
        lengths = lengths.tolist()
    rows = [
        flash_attn_func(q[i : i + 1], k_cache[i : i + 1, :n], v_cache[i : i + 1, :n], 0.0, softmax_scale, causal)
        for i, n in enumerate(lengths)
    ]
    return torch.cat(rows)
