"""The entry point of `leviathan`, for `python -m leviathan` and for `nix run`.

Imports are slow on a cold disk, so they are inside `main`, where signals are already handled. At the top are only
modules that the interpreter has loaded already.
"""

import os
import sys

#: leviathan.errors.ExitCode.INTERRUPTED. A literal, because that module may not be imported yet.
STOPPED = 130


def main() -> None:
    """Run the command line of this process, and exit with its status."""
    try:
        from leviathan.terminal.signals import as_ctrl_c, deaf  # noqa: PLC0415 - see above

        with as_ctrl_c():
            from leviathan.cli.main import run  # noqa: PLC0415

            status = run(sys.argv[1:])
        deaf()  # only the interpreter's shutdown follows
    except KeyboardInterrupt:
        forget(sys.argv[1:])
        sys.stderr.write("stopped\n")
        status = STOPPED
    if status == STOPPED:
        end(status)
    sys.exit(status)


def forget(argv: list[str]) -> None:
    """Remove the result file of an earlier run, if this run was stopped before it could write one."""
    from contextlib import suppress  # noqa: PLC0415 - see above

    from leviathan.cli.early_options import result_file  # noqa: PLC0415

    with suppress(OSError):  # no such file
        os.unlink(result_file(argv))  # noqa: PTH108 - the signal may have interrupted the import of pathlib


def end(status: int) -> None:
    """Exit at once, without the interpreter's shutdown.

    If Ctrl-C interrupts an `exec` of a string, as dataclasses and named tuples do when they are imported, CPython's
    Py_RunMain would kill the process with SIGINT instead of returning our status.
    """
    from contextlib import suppress  # noqa: PLC0415 - see above

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has gone
            stream.flush()
    os._exit(status)
