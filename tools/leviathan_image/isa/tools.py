"""How the check calls its three programs."""

import os
import subprocess
from collections.abc import Sequence

from leviathan_image.errors import ToolError


def call(argv: Sequence[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `argv` to its end with `text` as its input and return its streams; the status is the caller's to judge.
    Raises ToolError when the program is missing.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(argv, input=text, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError as error:
        raise missing(argv[0]) from error


def missing(program: str) -> ToolError:
    """The error for a program that is not there."""
    return ToolError(
        f"the program {program} is not on PATH",
        "install it: llvm-objdump-19 is in llvm-19, clang-19 in clang-19, as in binutils",
    )
