"""The image's entry point: `python3 -m leviathan_engine` with the runbook's flags.

It installs its signal handlers before it imports anything slow. The first process of a container ignores a SIGTERM
without a handler, and is killed when the grace period is over; elsewhere it would end by the signal, not with exit
code 0.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the launcher; returns the exit code: 0 after a signal, 2 for a wrong command line, 1 for any other failure.

    The reason of a failure is the last line on stderr, and is written to the termination log.
    """
    from leviathan_engine.launcher.flags import parse  # noqa: PLC0415
    from leviathan_engine.launcher.launch import Launcher, environment, listen  # noqa: PLC0415
    from leviathan_engine.launcher.state_dir import last_words, state  # noqa: PLC0415

    from .errors import EngineError  # noqa: PLC0415
    from .front.access.settings import access  # noqa: PLC0415
    from .front.limits import limits  # noqa: PLC0415

    environ = environment()
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        environ |= settings.front_environ
        limits(environ)  # the front checks this too, but it has no termination log
        access(environ)
        folder = state(environ)
        listener = listen(settings.host, settings.port)
        return Launcher(settings, folder, environ).run(listener)
    except EngineError as err:
        reason, code = err.line(), err.exit_code
    except Exception as err:  # a bug of ours, or an incomplete image: the termination log gets its reason too
        traceback.print_exc()
        first = (str(err).strip().splitlines() or ["no message"])[0]
        reason, code = f"the launcher failed: {type(err).__name__}: {first}", 1
    last_words(reason, environ)
    sys.stderr.write(f"error: {reason}\n")
    return code


def leave(_number: int, _frame: FrameType | None) -> None:
    """Ends the process on a signal that arrives before the launcher handles signals: no child is running yet."""
    os.write(sys.stderr.fileno(), b"leviathan: stopped before the start\n")
    os._exit(0)


if __name__ == "__main__":
    for early in (signal.SIGTERM, signal.SIGINT):
        signal.signal(early, leave)
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a normal exit would wait for a thread that reads from a disk that hangs
