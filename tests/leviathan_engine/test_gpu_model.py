"""The model that tests/gpu/model.py writes for benches of skewed routing: the skew is the one that was asked for."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gpu"))
import model


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_experts_are_chosen_by_zipfs_law(exponent: float) -> None:
    """Of scores that the biases were not made from; without biases a quarter of the experts has a quarter."""
    shape = model.wide(7, 256)
    bias = model.zipf_bias(shape, exponent, np.random.default_rng(1))
    score = 1 / (1 + np.exp(-np.random.default_rng(2).standard_normal((2000, 256))))
    share = np.arange(1, 257) ** -exponent
    share = np.minimum(share / share.sum() * 8, 0.95)
    quarter = np.sort(model.chosen(score + bias, shape).mean(0))[::-1][:64].sum() / 8
    assert quarter == pytest.approx(share[:64].sum() / share.sum(), abs=0.03)
    assert np.sort(model.chosen(score, shape).mean(0))[::-1][:64].sum() / 8 < 0.32
    assert bias.min() == 0
