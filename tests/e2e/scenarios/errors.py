"""The one error of the whole way's harness, and its one way to run a program."""

import shlex
import shutil
import subprocess
from collections.abc import Sequence


class WayError(Exception):
    """What the harness could not set up, in one line, with what to do about it."""


def run(argv: Sequence[str], timeout: float = 600.0) -> str:
    """The standard output of `argv`, given `timeout` seconds. Errors: WayError with the program's last line."""
    if shutil.which(argv[0]) is None:
        raise WayError(f"{argv[0]} is not on this machine; install the package that has it")
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WayError(f"{shlex.join(argv)} failed with status {done.returncode}: {last}")
    return done.stdout
