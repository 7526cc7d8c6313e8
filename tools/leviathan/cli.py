"""The entry of the program `leviathan`, which `python -m leviathan` and the script of `nix run` share.

The imports stand where Ctrl-C is answered, as they take a while on a cold disk.
"""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the process's command line, and end with its exit status."""
    try:
        from leviathan.program import run  # noqa: PLC0415 - see above
        from leviathan.signals import as_ctrl_c  # noqa: PLC0415

        with as_ctrl_c():
            status = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest is only the interpreter's own end
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        status = 130
    sys.exit(status)
