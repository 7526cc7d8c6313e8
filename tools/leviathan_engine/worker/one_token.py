"""Chooses the decode step: upstream's, or ours, which reads GGUF blocks (`operators/decode_step.py`)."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from leviathan_engine.environment import one_of
from leviathan_engine.plan.vram import DECODE_FROM_BLOCKS

NAME = "LEVIATHAN_DECODE"


def from_blocks(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to use our decode step: LEVIATHAN_DECODE is `blocks` or `upstream`; the planner's choice if not set.

    Errors: UsageError for another value.
    """
    values = ("blocks", "upstream") if DECODE_FROM_BLOCKS else ("upstream", "blocks")
    return one_of(environ, NAME, values) == "blocks"


def before_loading(device: str, say: Callable[[str], None]) -> Any:
    """Makes linear layers load as GGUF blocks; returns the kernels, None for upstream's step. Errors: UsageError."""
    if device == "cpu" or not from_blocks():
        return None
    try:
        kernels = import_module("leviathan_operators.kernels.decode").DecodeKernels()
    except OSError as err:
        say(f"decode: upstream's steps are used, because the library of GPU operators cannot be loaded: {err}")
        return None
    import_module("leviathan_operators.operators.linear").install(kernels)
    return kernels


def after_loading(model: Any, kernels: Any, say: Callable[[str], None]) -> None:
    """Installs our decode step in lm_head and the layers of a loaded model; does nothing without `kernels`."""
    if kernels is None:
        return
    head = import_module("leviathan_operators.operators.linear").head_from_blocks(model)
    layers = import_module("leviathan_operators.operators.decode_step").install(model, kernels, say)
    if layers:
        say(f"decode: {layers} layers{' and lm_head' if head else ''} read the GGUF blocks of the file")
