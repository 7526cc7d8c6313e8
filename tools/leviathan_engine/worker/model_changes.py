"""Changes the model that KTransformers loads."""

from importlib import import_module
from typing import Any


def keep_scales_narrow() -> None:
    """Stores Marlin's scales in bfloat16, so that calls need not convert them. Call it before a model is loaded."""
    marlin = import_module("ktransformers.operators.linear").KLinearMarlin
    bfloat16 = import_module("torch").bfloat16
    original = marlin.load

    def load(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self.marlin_s = self.marlin_s.to(bfloat16)

    marlin.load = load


def lighten(model: Any) -> None:
    """Removes two unnecessary computations from the loaded model; answers stay bit-identical.

    Computes the logits of the last position only, instead of all positions of a prompt. Does not compute the mask of
    chunk tokens by cache tokens, because the attention modules here do not read it.
    """
    model.lm_head.register_forward_pre_hook(lambda _module, inputs: (inputs[0][:, -1:], *inputs[1:]))
    model.model.orig_module._update_causal_mask = lambda *_arguments, **_named: None


def read_in_chunks(model: Any) -> None:
    """Replaces upstream's attention modules with ours, for the user's own rule files.

    Upstream's module only reads keys and values of the current chunk, so everything after the first chunk would be
    noise.
    """
    upstream = import_module("ktransformers.operators.attention").KDeepseekV2Attention
    ours = import_module("leviathan_operators.operators.attention").ChunkedLatentAttention
    for module in model.modules():
        if type(module) is upstream:
            module.__class__ = ours
