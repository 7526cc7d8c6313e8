"""Attention of a chunk to itself and to a past of any length, block of keys by block of keys, for MLA.

Memory grows with the chunk and the block, not with the past. The diagonal block is square, so no kernel needs a mask.
"""

from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from leviathan_operators.reference.latent_attention import attend as plain_attend

#: Keys that are expanded at once: 162 KB a key at DeepSeek-V3's widths.
KEY_BLOCK = 4096

Expand = Callable[[int, int], tuple[Tensor, Tensor]]


def attention(query: Tensor, expand: Expand, start: int, value_width: int, scale: float) -> Tensor:
    """Attention of the tokens at `start` to `start` + n - 1 to themselves and all before them.

    Args:
        query: (heads, n, d).
        expand: gives keys (heads, m, d) and values (heads, m, `value_width`) of the m tokens from one position to
            before another.
        start: position of the first query.
        value_width: columns of a value.
        scale: factor on the scores.

    Returns:
        (heads, n, `value_width`) of query's dtype.
    """
    heads, n, _ = query.shape
    blocks = list(key_blocks(start, start + n))
    if len(blocks) == 1:
        key, value = expand(start, start + n)
        return attend(query, key, value, scale, causal=True)[0].to(query.dtype)
    out = torch.zeros(heads, n, value_width, dtype=torch.float32, device=query.device)
    total = torch.full((heads, n), float("-inf"), dtype=torch.float32, device=query.device)
    for first, last in blocks:
        _block(query, expand, start, scale, (first, last), out, total)
    return out.to(query.dtype)


def _block(
    query: Tensor, expand: Expand, start: int, scale: float, keys: tuple[int, int], out: Tensor, total: Tensor
) -> None:
    """Merges the attention to one block of keys into `out` and `total`. It ends before the next block is expanded."""
    n = query.shape[1]
    key, value = expand(*keys)
    # Queries before the block see nothing of it, those in it the triangle, those behind it everything.
    inside, behind = (max(0, position - start) for position in keys)
    if keys[0] >= start:
        _add(out, total, slice(inside, behind), attend(query[:, inside:behind], key, value, scale, causal=True))
    if behind < n:
        _add(out, total, slice(behind, n), attend(query[:, behind:], key, value, scale, causal=False))


def key_blocks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The blocks of keys of a chunk from `start` to before `end`; none reaches over `start`."""
    for first, last in ((0, start), (start, end)):
        for at in range(first, last, KEY_BLOCK):
            yield at, min(last, at + KEY_BLOCK)


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float, *, causal: bool) -> tuple[Tensor, Tensor]:
    """What `reference.attention.attend` computes; by the flash kernel, in query's dtype, where the device has it."""
    if not _has_flash(query.device, query.dtype, query.shape[-1]):
        return plain_attend(query, key, value, scale, causal=causal)
    width = value.shape[-1]
    padded = torch.nn.functional.pad(value, [0, query.shape[-1] - width])  # the kernel takes one width for all three
    out, total = torch.ops.aten._scaled_dot_product_flash_attention(
        query.unsqueeze(0), key.unsqueeze(0), padded.unsqueeze(0), is_causal=causal, scale=scale
    )[:2]
    return out[0, ..., :width], total[0, :, : query.shape[1]]


@cache
def _has_flash(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether the flash kernel runs there. It refuses a head that is too wide or a card that it has no code for."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    probe = torch.zeros(1, 1, 8, width, dtype=dtype, device=device)
    try:
        torch.ops.aten._scaled_dot_product_flash_attention(probe, probe, probe, is_causal=True, scale=1.0)
    except RuntimeError:
        return False
    return True


def _add(out: Tensor, total: Tensor, rows: slice, block: tuple[Tensor, Tensor]) -> None:
    """Merges the attention to one more block of keys into `rows` of `out` and `total`, in place."""
    more, more_total = block
    both = torch.logaddexp(total[:, rows], more_total)
    out[:, rows].mul_(torch.exp(total[:, rows] - both).unsqueeze(-1))
    out[:, rows].add_(more * torch.exp(more_total - both).unsqueeze(-1))
    total[:, rows] = both
