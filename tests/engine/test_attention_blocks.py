"""Attention in blocks against one piece in float64, and the paged cache against what was written into it."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

import torch

from leviathan_operators.operators import blocks, latent_cache
from leviathan_operators.operators.latent_cache import LatentCache
from leviathan_operators.reference import latent_attention as reference

HEADS, NOPE, ROPE, VALUE, RANK, SCALE = 4, 128, 64, 128, 512, 0.1
LENGTH = 300


@pytest.fixture(scope="module")
def inputs() -> tuple[Any, Any, Any]:
    """Query (heads, n, d), cache entries (n, rank + rope) and kv_b in float64."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, dtype=torch.float64, generator=random)

    return normal(HEADS, LENGTH, NOPE + ROPE), normal(LENGTH, RANK + ROPE), normal(HEADS * 256, RANK) * 0.05


def test_the_reference_is_torchs_attention(inputs: tuple[Any, Any, Any]) -> None:
    query, latent, kv_b = inputs
    key, value = reference.expand(latent, kv_b, HEADS, NOPE)
    torchs = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=SCALE)
    for n in (1, 77, LENGTH):
        ours = reference.latent_attention(query[:, LENGTH - n :], latent, kv_b, NOPE, SCALE)
        assert float((ours - torchs[:, LENGTH - n :]).abs().max()) < 1e-12


@pytest.mark.parametrize("block", [7, 64, 4096])
@pytest.mark.parametrize("start", [0, 1, 120, LENGTH - 2])
def test_blocks_are_one_piece(
    inputs: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch, block: int, start: int
) -> None:
    query, latent, kv_b = inputs
    right = reference.latent_attention(query, latent, kv_b, NOPE, SCALE)[:, start:]
    monkeypatch.setattr(blocks, "KEY_BLOCK", block)
    longest = 0

    def expand(first: int, last: int) -> tuple[Any, Any]:
        nonlocal longest
        longest = max(longest, last - first)
        return reference.expand(latent[first:last], kv_b, HEADS, NOPE)

    found = blocks.attention(query[:, start:], expand, start, VALUE, SCALE)
    assert float((found - right).abs().max()) < 1e-5  # merged in 32 bits
    assert longest <= block
    halves = blocks.attention(
        query[:, start:].bfloat16(),
        lambda first, last: reference.expand(latent[first:last].bfloat16(), kv_b.bfloat16(), HEADS, NOPE),
        start,
        VALUE,
        SCALE,
    )
    assert halves.dtype == torch.bfloat16
    assert float((halves.double() - right).norm() / right.norm()) < 2e-2


def cache() -> Any:
    """Three layers, eight pages, on the CPU."""
    config = SimpleNamespace(
        architectures=["DeepseekV3ForCausalLM"],
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        num_hidden_layers=3,
        max_position_embeddings=512,
        kv_lora_rank=RANK,
        qk_rope_head_dim=ROPE,
    )
    return LatentCache(config, 1, 512, "cpu", torch.bfloat16)


def write(pages: Any, first: int, n: int, layer: int) -> Any:
    """Writes n random entries from position `first` on; returns them."""
    entries = torch.randn(1, n, 1, RANK + ROPE).bfloat16()
    positions = torch.arange(first, first + n)
    pages.update(entries[..., :RANK], entries[..., RANK:], layer, {"cache_position": positions})
    return entries[0, :, 0]


def test_tokens_go_where_the_table_says() -> None:
    pages = cache()
    pages.select([5, 2, 7], 0)
    first = write(pages, 0, 100, 1)
    pages.select([5, 2, 7], 100)
    second = write(pages, 100, 50, 1)
    assert torch.equal(pages.latents(1, 0, 150), torch.cat([first, second]))
    assert torch.equal(pages.latents(1, 70, 130), torch.cat([first, second])[70:130])
    assert torch.equal(pages.key_cache[1][2, :, 0], torch.cat([first, second])[64:128])
    assert not pages.key_cache[1][[0, 1, 3, 4, 6]].any()
    assert not pages.key_cache[0].any()
    pages.select([0], 0)  # another sequence; the first one's pages stay
    other = write(pages, 0, 3, 1)
    assert torch.equal(pages.latents(1, 0, 3), other)
    pages.select([5, 2, 7], 150)
    assert torch.equal(pages.latents(1, 0, 150), torch.cat([first, second]))


def test_pages_are_copied_and_come_back_from_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_cache, "BATCH", 2)
    pages = cache()
    for layer in pages.key_cache:
        layer.copy_(torch.randn(layer.shape).bfloat16())
    before = [layer.clone() for layer in pages.key_cache]
    blobs = pages.read([3, 1, 2])
    assert [len(blob) for blob in blobs] == [pages.page_bytes] * 3
    assert pages.read([2]) == [blobs[2]]
    pages.copy(3, 6)
    pages.write([4, 5, 0], [memoryview(blob) for blob in blobs])
    for layer, old in zip(pages.key_cache, before, strict=True):
        assert torch.equal(layer[[6, 4, 5, 0]], old[[3, 3, 1, 2]])
        assert torch.equal(layer[[1, 2, 3, 7]], old[[1, 2, 3, 7]])
    with pytest.raises(ValueError, match=f"expected pages of {pages.page_bytes} bytes, got 7"):
        pages.write([4], [b"1234567"])
