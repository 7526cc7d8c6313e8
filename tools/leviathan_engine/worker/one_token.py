"""Which way a decode step goes: upstream's, or ours from GGUF's own blocks (`operators/decode_step.py`)."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from leviathan_engine.errors import EngineError
from leviathan_engine.plan.vram import DECODE_FROM_BLOCKS

NAME = "LEVIATHAN_DECODE"


def from_blocks(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether LEVIATHAN_DECODE asks for our steps: `blocks` or `upstream`; the planner's choice where it is not set.

    Errors: EngineError for another word.
    """
    word = environ.get(NAME, "")
    if word not in ("", "blocks", "upstream"):
        raise EngineError(f"{NAME}={word[:40]!r}: expected blocks or upstream", "correct it, or leave it out")
    return DECODE_FROM_BLOCKS if not word else word == "blocks"


def before_loading(device: str, say: Callable[[str], None]) -> Any:
    """Has linear layers loaded as blocks; gives the kernels, None for upstream's steps. Errors: EngineError."""
    if device == "cpu" or not from_blocks():
        return None
    try:
        kernels = import_module("leviathan_operators.kernels.decode").DecodeKernels()
    except OSError as err:
        say(f"decode: upstream's steps: the library of the GPU's operators cannot be loaded: {err}")
        return None
    import_module("leviathan_operators.operators.linear").install(kernels)
    return kernels


def after_loading(model: Any, kernels: Any, say: Callable[[str], None]) -> None:
    """Changes lm_head and the layers of a loaded model that has its experts; nothing without kernels."""
    if kernels is None:
        return
    head = import_module("leviathan_operators.operators.linear").head_from_blocks(model)
    layers = import_module("leviathan_operators.operators.decode_step").install(model, kernels, say)
    if layers:
        say(f"decode: from the file's blocks, {layers} layers{', lm_head' if head else ''}")
