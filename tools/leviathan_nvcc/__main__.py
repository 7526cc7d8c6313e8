"""The command line: ``python3 -m leviathan_nvcc``, which ``$CUDA_HOME/bin/nvcc`` runs."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from leviathan_nvcc import cmdline, toolchain
from leviathan_nvcc import help as texts
from leviathan_nvcc import resolve as meaning
from leviathan_nvcc.driver import Driver
from leviathan_nvcc.errors import NvccError, ToolFailed
from leviathan_nvcc.process import Runner

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def thread_count(wanted: int | None, archs: int) -> int:
    """How many tools run at once: ``--threads``; 0 and the default count the processors that this process may use."""
    processors = len(os.sched_getaffinity(0))
    if wanted is None:
        return max(1, min(processors, archs))
    return wanted or processors


def answer(line: cmdline.CommandLine) -> str | None:
    """The text of options that only ask something, None if there is work."""
    asked = dict(line.settings)
    if "help" in asked:
        return texts.help_text()
    if "version" in asked:
        return texts.VERSION
    if "list-gpu-code" in asked:
        return texts.arch_list("sm")
    return texts.arch_list("compute") if "list-gpu-arch" in asked else None


def run(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """One call of the driver.

    Arguments:
        words: the command line without the program's name.
        environment: the process's environment.
    Errors:
        NvccError, ToolFailed: what main() turns into a line and a status.
    """
    line = cmdline.parse(cmdline.with_environment(words, environment))
    text = answer(line)
    if text is not None:
        sys.stdout.write(text)
        return
    one = meaning.build(line, environment)
    tools = toolchain.find(environment)
    if one.verbose or one.dryrun:
        sys.stderr.write(texts.preamble(tools.root, environment.get("PATH", ""), one.device.targets))
    runner = Runner(thread_count(one.threads, len(one.device.targets)), sys.stderr, one.verbose, one.dryrun)
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: runner.interrupt(number))
    with tempfile.TemporaryDirectory(prefix="leviathan-nvcc-") as work:
        Driver(tools, one, runner, Path(work)).run()


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 for what the driver refuses, a failed tool's own, 128 + the signal that ended it."""
    try:
        run(sys.argv[1:] if words is None else words, os.environ)
    except NvccError as error:
        sys.stderr.write(f"{error.line()}\n")
        return error.code
    except ToolFailed as error:
        return error.code
    except OSError as error:
        sys.stderr.write(NvccError(f"{error.filename or 'a temporary file'}: {error.strerror}").line() + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
