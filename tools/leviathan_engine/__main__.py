"""The image's entry point: `python3 -m leviathan_engine` with the runbook's flags."""

import os
import sys
from collections.abc import Sequence

from .errors import EngineError
from .flags import parse
from .folders import last_words, state
from .launch import Launcher, environment, listen


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the pod's work; returns the exit code: 0 after a signal, 2 for a wrong command line, 1 for any failure.

    The reason of a failure is the last line on stderr, and the text of the termination log.
    """
    environ = environment()
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        folder = state(environ)
        listener = listen(settings.host, settings.port)
        return Launcher(settings, folder, environ).run(listener)
    except EngineError as err:
        last_words(err.line(), environ)
        sys.stderr.write(f"error: {err.line()}\n")
        return err.exit_code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that reads from a disk that hangs would be waited for
