"""Root-mean-square norm as DeepSeek-V3 defines it."""

import torch
from torch import Tensor


def rms_norm(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """`weight` * `hidden` / sqrt(mean(`hidden`**2) + `epsilon`) over the last axis, of the shape and dtype of `hidden`.

    As modeling_deepseek_v3.DeepseekV3RMSNorm rounds it: normalised in float32, rounded to the dtype of `hidden`, then
    multiplied.
    """
    wide = hidden.float()
    normalised = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * normalised.to(hidden.dtype)
