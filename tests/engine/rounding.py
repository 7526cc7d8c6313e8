"""How far rounding to bfloat16 moves a model's logits, measured on plain torch, to compare an engine's errors with."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch

from leviathan_engine.wire import PromptToken

#: The last bit of bfloat16, to which the engine rounds after every layer.
LAST_BIT = 2**-8


def disturbed(plain: Any, ids: Sequence[int], seed: int) -> torch.Tensor:
    """The logits of `plain`, a Reference, when each linear layer and norm is off by about bfloat16's last bit."""
    chance = torch.Generator().manual_seed(seed)

    def off(exact: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def computed(*arguments: Any) -> torch.Tensor:
            y = exact(*arguments)
            return y * (1 + LAST_BIT * torch.randn(y.shape, generator=chance))

        return computed

    other = copy(plain)
    other.linear, other._norm = off(plain.linear), off(plain._norm)
    logits: torch.Tensor = other.logits(ids, 0)
    return logits


def beyond(named: Sequence[PromptToken], right: torch.Tensor, others: Sequence[torch.Tensor]) -> list[float]:
    """Each position's error as a multiple of what rounding does to plain torch there, in ascending order.

    `right` and `others`, logits of plain torch and of it disturbed: (positions, vocabulary).
    """
    ids = torch.tensor([[one.token, *(i for i, _ in one.top)] for one in named])
    mine = torch.tensor([[one.logprob, *(logprob for _, logprob in one.top)] for one in named])
    true, *noisy = (logits.log_softmax(-1)[: len(named)].gather(1, ids) for logits in (right, *others))
    moved = torch.stack([(other - true).square().mean(1) for other in noisy]).mean(0).sqrt()
    ratios: list[float] = ((mine - true).square().mean(1).sqrt() / moved).sort()[0].tolist()
    return ratios
