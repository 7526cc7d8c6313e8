"""Fewer GPU kernels a decode step, with the same results: norms in two kernels, rotary angles once for all layers.

A step's kernels are so short that starting them takes longer than their work. Upstream's norm starts seven, four times
a layer; the cosines and sines of a position take nine, in every layer, though all layers use the same.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Angles = tuple[Tensor, Tensor]


def rms_norm(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """What `reference.norm.rms_norm` computes, rounded at the same places; one kernel normalises, one multiplies."""
    return weight * torch.nn.functional.rms_norm(hidden, (hidden.shape[-1],), None, epsilon)


def norms_in_two_kernels(model: Any) -> int:
    """Gives `rms_norm` to the model's norms; returns how many there are."""
    from ktransformers.models.modeling_deepseek_v3 import DeepseekV3RMSNorm  # noqa: PLC0415

    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)

    DeepseekV3RMSNorm.forward = forward
    return sum(isinstance(module, DeepseekV3RMSNorm) for module in model.modules())


class SharedAngles:
    """The cosines and sines that the first layer on a device computes, for the layers behind it."""

    def __init__(self, compute: Callable[[Tensor, Tensor], Angles]) -> None:
        """`compute` is the first layer's own function of a tensor of the wanted dtype and the positions (1, n)."""
        self._compute = compute
        self._last: Angles | None = None

    def first(self, x: Tensor, position_ids: Tensor) -> Angles:
        """Computes them; called once in each pass through the model, by the layer that comes first."""
        self._last = self._compute(x, position_ids)
        return self._last

    def again(self, _x: Tensor, position_ids: Tensor) -> Angles:
        """Returns the same angles. Errors: RuntimeError if no first layer computed them for these positions."""
        if self._last is None or self._last[0].shape[-2] != position_ids.shape[-1]:
            raise RuntimeError("a layer requests rotary angles before the first layer on its device computed them")
        return self._last


def angles_once(model: Any) -> int:
    """Makes the layers of a device share the angles; returns the number of layers that no longer compute them."""
    shared: dict[Any, SharedAngles] = {}
    spared = 0
    for layer in model.model.layers:
        rotary = layer.self_attn.rotary_emb
        device = rotary.inv_freq.device
        if device in shared:
            rotary.forward = shared[device].again
            spared += 1
        else:
            shared[device] = SharedAngles(rotary.forward)
            rotary.forward = shared[device].first
    return spared
