"""How KTransformers is built from its sdist: one module a stage, each with one function and no state between them."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class RecipeError(Exception):
    """Something that the caller can fix; its text is one line that says what, where and how."""


def say(text: str) -> None:
    """Print one line of talk on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
    """Run one program, its output on our stderr, and raise RecipeError with the command line if it fails."""
    say("+ " + shlex.join(argv))
    try:
        done = subprocess.run(argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    except FileNotFoundError:
        raise RecipeError(f"{argv[0]}: no such program on PATH {env.get('PATH', '')!r}: add its package") from None
    if done.returncode != 0:
        raise RecipeError(f"{argv[0]} ended with {done.returncode} in {cwd}: {shlex.join(argv)}")
