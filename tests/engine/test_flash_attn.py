"""The flash_attn stand-in against attention written out, with flash-attn's rule for masks that are not square."""

import math

import pytest
import torch
from flash_attn import flash_attn_func, flash_attn_with_kvcache


def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None, causal: bool) -> torch.Tensor:
    """softmax(scale · q k' + mask) v, one query at a time; query i sees keys 0 ... i + keys - queries."""
    batch, queries, heads, size = q.shape
    keys, groups = k.shape[1], heads // k.shape[2]
    out = torch.zeros(batch, queries, heads, v.shape[3], dtype=torch.float64)
    factor = 1 / math.sqrt(size) if scale is None else scale
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = i + keys - queries + 1 if causal else keys
                if seen > 0:
                    weights = torch.softmax(k[b, :seen, h // groups].double() @ q[b, i, h].double() * factor, dim=0)
                    out[b, i, h] = weights @ v[b, :seen, h // groups].double()
    return out


def tensors(queries: int, keys: int, heads: int, kv_heads: int, size: int, v_size: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(queries * 1000 + keys)
    shapes = [(2, queries, heads, size), (2, keys, kv_heads, size), (2, keys, kv_heads, v_size)]
    return tuple(torch.randn(shape) for shape in shapes)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 9), (3, 9), (9, 9), (7, 3), (1, 1)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_matches_written_out(queries: int, keys: int, scale: float | None, causal: bool) -> None:
    q, k, v = tensors(queries, keys, 4, 4, 24, 24)
    got = flash_attn_func(q, k, v, softmax_scale=scale, causal=causal)
    assert got.shape == (2, queries, 4, 24)
    torch.testing.assert_close(got.double(), written_out(q, k, v, scale, causal), atol=1e-5, rtol=1e-5)


def test_causal_means_something() -> None:
    """Control: the mask changes the result, and an upper-left one would give another."""
    q, k, v = tensors(3, 9, 4, 4, 24, 24)
    causal = flash_attn_func(q, k, v, causal=True)
    assert (causal - flash_attn_func(q, k, v, causal=False)).abs().max() > 0.01
    top_left = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
    ).transpose(1, 2)
    assert (causal - top_left).abs().max() > 0.01


def test_fewer_key_heads_and_other_value_size() -> None:
    q, k, v = tensors(4, 6, 8, 2, 16, 12)
    got = flash_attn_func(q, k, v, causal=True)
    torch.testing.assert_close(got.double(), written_out(q, k, v, None, True), atol=1e-5, rtol=1e-5)


def test_queries_that_see_nothing_give_zeros() -> None:
    q, k, v = tensors(7, 3, 4, 4, 24, 24)
    got = flash_attn_func(q, k, v, causal=True)
    assert torch.equal(got[:, :4], torch.zeros_like(got[:, :4]))
    assert got[:, 4:].abs().min() > 0


def test_bfloat16_keeps_its_type() -> None:
    """DeepSeek's prefill: 192 wide, values padded to it, the last 64 columns of the result cut off again."""
    q, k, v = (t.bfloat16() for t in tensors(17, 17, 2, 2, 192, 128))
    padded = torch.nn.functional.pad(v, [0, 64])
    got = flash_attn_func(q, k, padded, softmax_scale=0.1, causal=True)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got[..., 128:], torch.zeros_like(got[..., 128:]))
    expected = written_out(q, k, v, 0.1, True)
    torch.testing.assert_close(got[..., :128].double(), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("lengths", [[4, 11], torch.tensor([4, 11], dtype=torch.int32)])
def test_cache_lengths(lengths: list[int] | torch.Tensor) -> None:
    q, k, v = tensors(1, 16, 4, 4, 24, 24)
    as_tensor = torch.as_tensor(lengths, dtype=torch.int32)
    got = flash_attn_with_kvcache(q, k, v, cache_seqlens=as_tensor)
    for row, length in enumerate([4, 11]):
        expected = written_out(q[row : row + 1], k[row : row + 1, :length], v[row : row + 1, :length], None, False)
        torch.testing.assert_close(got[row : row + 1].double(), expected, atol=1e-5, rtol=1e-5)


def test_what_the_stand_in_lacks_is_an_error() -> None:
    q, k, v = tensors(1, 16, 4, 4, 24, 24)
    with pytest.raises(TypeError, match="block_table"):
        flash_attn_with_kvcache(q, k, v, block_table=torch.zeros(1, 1))
