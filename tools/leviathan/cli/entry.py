"""The entry of the program `leviathan`, which `python -m leviathan` and the script of `nix run` share.

The imports stand where signals are answered, as they take a while on a cold disk; above are only modules that the
interpreter has at its start.
"""

import os
import sys

#: leviathan.errors.ExitCode.INTERRUPTED, which may not be imported yet.
STOPPED = 130


def main() -> None:
    """Run the process's command line, and end with its exit status."""
    try:
        from leviathan.terminal.signals import as_ctrl_c, deaf  # noqa: PLC0415 - see above

        with as_ctrl_c():
            from leviathan.cli.main import run  # noqa: PLC0415

            status = run(sys.argv[1:])
        deaf()  # the rest is only the interpreter's own end
    except KeyboardInterrupt:
        forget(sys.argv[1:])
        sys.stderr.write("stopped\n")
        status = STOPPED
    if status == STOPPED:
        end(status)
    sys.exit(status)


def forget(argv: list[str]) -> None:
    """Remove the result file of an earlier run; for a stop before anything can write it anew."""
    from contextlib import suppress  # noqa: PLC0415 - see above

    from leviathan.cli.early_options import result_file  # noqa: PLC0415

    with suppress(OSError):  # there is none
        os.unlink(result_file(argv))  # noqa: PTH108 - pathlib may be what was just being imported


def end(status: int) -> None:
    """End the process at once. An interpreter that ends by itself would kill itself by SIGINT where Ctrl-C has met a
    text that was being executed, as dataclasses and named tuples do when they are imported (CPython's Py_RunMain)."""
    from contextlib import suppress  # noqa: PLC0415 - see above

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(status)
