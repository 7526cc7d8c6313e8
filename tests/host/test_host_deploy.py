"""The programs that `nix run` starts: built once, then timed from the start to the last word of their help."""

import re
import statistics
import subprocess
import time

import pytest
from host_support import call, output

from leviathan.cli.main import COMMANDS
from leviathan.deploy.phases import PHASES

#: Seconds in which `--help` has to answer.
HELP_S = 0.4
#: The app → the words that its help must have.
WORDS = {"deploy": {phase.name for phase in PHASES}, "leviathan": set(COMMANDS)}


@pytest.mark.parametrize("app", WORDS)
def test_help_answers_at_once(app: str) -> None:
    first = call("nix", "run", f".#{app}", "--", "--help")
    assert first.returncode == 0, first.stderr
    program = output("nix", "eval", "--raw", f".#apps.x86_64-linux.{app}.program")
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - began)
    assert statistics.median(seconds) <= HELP_S, seconds
    assert set(re.findall(r"[a-z]+", done.stdout)) >= WORDS[app]
