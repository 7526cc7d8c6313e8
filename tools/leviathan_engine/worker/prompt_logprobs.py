"""Computes the log probabilities of a prompt's tokens, from what enters lm_head while a chunk of the prompt is read.

The logits of HEAD_ROWS positions are in memory at a time, so the memory does not grow with the prompt; plan/vram.py
counts it. The logits of the chunk's last position are computed as for any other prompt.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from leviathan_engine.plan.vram import HEAD_ROWS
from leviathan_engine.wire import PromptToken
from leviathan_engine.worker.sampling import not_numbers


@contextmanager
def head_inputs(head: Any) -> Iterator[list[Any]]:
    """Collects what enters lm_head, (1, positions, hidden), before `model_changes.lighten` keeps the last position."""
    seen: list[Any] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]), prepend=True)
    try:
        yield seen
    finally:
        hook.remove()


def token_logprobs(
    head: Any, hidden: Any, following: Sequence[int], most: int, check: Callable[[], None]
) -> Iterator[PromptToken]:
    """Yields the tokens `following` the positions of `hidden`, (positions, hidden), with their log probabilities.

    With each come the `most` most likely tokens. `hidden` may have a position more: the prompt's last one. `check` is
    called before every HEAD_ROWS positions, and may raise. Errors: EngineError if logits are not numbers.
    """
    for first in range(0, len(following), HEAD_ROWS):
        check()
        tokens = following[first : first + HEAD_ROWS]
        yield from _named(head, hidden[first : first + len(tokens)], tokens, most)


def _named(head: Any, hidden: Any, tokens: Sequence[int], most: int) -> list[PromptToken]:
    """Returns one block's tokens; its logits are freed with the return."""
    torch = import_module("torch")
    logs = torch.log_softmax(_logits(head, hidden).float(), dim=-1)
    values, places = logs.topk(max(1, min(most, logs.shape[-1])))
    if not bool(torch.isfinite(values[:, 0]).all()):
        raise not_numbers()
    own = logs.gather(1, torch.tensor(tokens, device=logs.device).unsqueeze(1))
    ranks = (logs > own).sum(-1) + 1
    rows = zip(tokens, own[:, 0].tolist(), ranks.tolist(), places.tolist(), values.tolist(), strict=True)
    return [
        PromptToken(token, logprob, rank, tuple(zip(ids, chances, strict=True))[:most])
        for token, logprob, rank, ids, chances in rows
    ]


def _logits(head: Any, hidden: Any) -> Any:
    """Returns lm_head's logits of a few positions: (positions, vocabulary).

    Calls `forward`, since a call of the module would run the hook that keeps the last position. A head that reads GGUF
    blocks has an empty weight; it gets one position at a time, because for several it would unpack all of the weight.
    """
    if head.weight.numel() > 0:
        return head.forward(hidden)
    return import_module("torch").cat([head.forward(row) for row in hidden.split(1)])
