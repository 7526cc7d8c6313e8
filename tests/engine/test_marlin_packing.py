"""Marlin packing in torch against upstream's in numpy: equal bits for every shape of DeepSeek-V3's linear layers."""

import pytest
import torch
from ktransformers.ktransformers_ext.operators.custom_marlin.quantize.utils import marlin_utils
from ktransformers.ktransformers_ext.operators.custom_marlin.quantize.utils.marlin_perms import marlin_perm

from leviathan_engine.worker import marlin_packing

UPSTREAM = marlin_utils.marlin_weights

# (inputs, outputs): the least that Marlin takes, DeepSeek-V3's kv_a (576 outputs), and shapes with sides that are not
# powers of two. Larger shapes repeat the same tiles.
SHAPES = [(64, 128), (128, 64), (576, 512), (1536, 192), (512, 576), (7168, 576)]


@pytest.mark.parametrize(("size_k", "size_n"), SHAPES)
@pytest.mark.parametrize("num_bits", [4, 8])
def test_equal_bits(size_k: int, size_n: int, num_bits: int) -> None:
    """Random weights that use every value; the highest in the last place sets the sign bit of a word."""
    generator = torch.Generator().manual_seed(size_k + num_bits)
    q_w = torch.randint(0, 2**num_bits, (size_k, size_n), dtype=torch.int32, generator=generator)
    q_w[:, -16:] = 2**num_bits - 1
    wanted = UPSTREAM(q_w, size_k, size_n, num_bits, marlin_perm[num_bits])
    got = marlin_packing.pack(q_w, size_k, size_n, num_bits, marlin_perm[num_bits])
    assert got.dtype == wanted.dtype == torch.int32
    assert bool((wanted < 0).any())
    assert torch.equal(got, wanted)
    assert not torch.equal(marlin_packing.pack(q_w.flip(0), size_k, size_n, num_bits, marlin_perm[num_bits]), wanted)


def test_the_loader_packs_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`marlin_quantize`, which KLinearMarlin.load calls, gives the same five tensors before and after `install`."""
    monkeypatch.setattr(marlin_utils, "marlin_weights", UPSTREAM)
    weight = torch.randn(256, 192, generator=torch.Generator().manual_seed(1)).bfloat16()
    before = marlin_utils.marlin_quantize(weight, 4, 64, act_order=False)
    monkeypatch.setattr(marlin_utils, "marlin_weights", None)
    with pytest.raises(TypeError):
        marlin_utils.marlin_quantize(weight, 4, 64, act_order=False)
    marlin_packing.install()
    after = marlin_utils.marlin_quantize(weight, 4, 64, act_order=False)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert after[1].dtype == torch.int32
