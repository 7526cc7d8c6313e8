"""What is changed in the model that upstream loads."""

from importlib import import_module
from typing import Any


def keep_scales_narrow() -> None:
    """Marlin's scales in bfloat16, to which every call would convert them. Call it before a model is loaded."""
    marlin = import_module("ktransformers.operators.linear").KLinearMarlin
    bfloat16 = import_module("torch").bfloat16
    original = marlin.load

    def load(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self.marlin_s = self.marlin_s.to(bfloat16)

    marlin.load = load


def lighten(model: Any) -> None:
    """Takes two wastes out of the loaded model; its answers stay the same to the bit.

    The logits of the last position alone, instead of every one of a prompt's; no mask of a chunk's tokens by the
    cache's, which no attention here reads.
    """
    model.lm_head.register_forward_pre_hook(lambda _module, inputs: (inputs[0][:, -1:], *inputs[1:]))
    model.model.orig_module._update_causal_mask = lambda *_arguments, **_named: None


def read_in_chunks(model: Any) -> None:
    """Gives ours to layers whose attention is upstream's, as a rule file of the user's own has it.

    Upstream's reads keys and values of a chunk alone, so everything behind the first chunk would be noise.
    """
    upstream = import_module("ktransformers.operators.attention").KDeepseekV2Attention
    ours = import_module("leviathan_operators.operators.attention").ChunkedLatentAttention
    for module in model.modules():
        if type(module) is upstream:
            module.__class__ = ours
