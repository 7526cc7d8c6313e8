"""The command line: `fetch` and `lock`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from leviathan_fetch import process
from leviathan_fetch.errors import FetchError, InterruptedFetch, from_system
from leviathan_fetch.project import CLIENTS, find

LOCKS = ("debian", "sources", "tool", "engine", *CLIENTS)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--project", metavar="DIR", default=".", help="the checkout (default: around this folder)")
    common.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    common.add_argument("--debug", action="store_true", help="show every command and every traceback")
    top = argparse.ArgumentParser(prog="leviathan_fetch", description="Fetch the locked artifacts; refresh the locks.")
    commands = top.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", parents=[common], help="fetch every locked artifact into the Nix store")
    fetch.add_argument("--artifacts", metavar="FILE", help="output of nix eval --json .#lib.artifacts; - is stdin")
    fetch.add_argument("--jobs", "-j", type=positive, default=4, help="number of concurrent downloads (default: 4)")
    for option, what in (
        ("debian-mirror", "read Debian's pool below this address instead of through apt"),
        ("debian-security-mirror", "the same for the security suite (default: the mirror's address with -security)"),
        ("index-url", "read this package index instead of asking pip"),
    ):
        variable = "LEVIATHAN_" + option.upper().replace("-", "_")
        text = f"{what}; or in the environment: {variable}"
        fetch.add_argument(f"--{option}", metavar="URL", default=os.environ.get(variable) or None, help=text)
    lock = commands.add_parser("lock", parents=[common], help="refresh locks, or check whether they match their roots")
    lock.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 if a lock does not match its roots"
    )
    lock.add_argument("locks", nargs="*", metavar="LOCK", help=f"which of {', '.join(LOCKS)} (default: all)")
    return top


def positive(text: str) -> int:
    """A number of downloads from the command line. Errors: ArgumentTypeError unless it is 1 to 64."""
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"expected an integer from 1 to 64, got {text!r}")
    return int(text)


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_fetch(given: argparse.Namespace) -> int:
    """`fetch`: the exit status."""
    from leviathan_fetch.fetch import fetch  # noqa: PLC0415 - each command loads its own half
    from leviathan_fetch.options import Options  # noqa: PLC0415 - as above
    from leviathan_fetch.progress import size  # noqa: PLC0415

    options = Options(given.artifacts, given.jobs, given.debian_mirror, given.debian_security_mirror, given.index_url)
    done = fetch(options, find(Path(given.project)), say)
    added = f"{done.added} of them new ({size(done.received)} downloaded)" if done.added else "nothing to fetch"
    print(json.dumps(asdict(done)) if given.json else f"fetch: {done.artifacts} artifacts in the store, {added}")  # noqa: T201
    return 0


def run_lock(given: argparse.Namespace) -> int:
    """`lock`: the exit status."""
    from leviathan_fetch.locks.lock import check, refresh  # noqa: PLC0415

    unknown = [name for name in given.locks if name not in LOCKS]
    if unknown:
        say(f"leviathan: unknown lock {unknown[0]}; expected one of {', '.join(LOCKS)}")
        return 2
    names = given.locks or list(LOCKS)
    project = find(Path(given.project))
    if given.check:
        stale = check(project, names)
        print(json.dumps({"stale": stale}) if given.json else "\n".join(stale) or "lock: every lock fits its roots")  # noqa: T201
        return 1 if stale else 0
    changes = refresh(project, names, say)
    lines = [change.line() for change in changes] or ["lock: nothing has changed"]
    print(json.dumps([asdict(change) for change in changes]) if given.json else "\n".join(lines))  # noqa: T201
    return 0


def interrupt(number: int, frame: FrameType | None) -> None:
    """SIGINT and SIGTERM: unwind the main thread, which ends the children."""
    signal.signal(number, signal.SIG_IGN)
    raise InterruptedFetch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 1 (an error, one line), 2 (usage), 130 (interrupted)."""
    given = parser().parse_args(arguments)
    return answered(given, lambda: run_fetch(given) if given.command == "fetch" else run_lock(given))


def answered(
    given: argparse.Namespace, work: Callable[[], int], failed: Callable[[FetchError], int] = lambda _error: 1
) -> int:
    """The exit status of `work`; an error is one line and the status that `failed` gives it, an interruption 130.

    Errors are those of this package and those of the operating system. Arguments: `given`, the command line's `command`
    and `debug`.
    """
    process.CHILDREN.talk = given.debug
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return work()
    except (FetchError, OSError) as error:
        process.CHILDREN.stop()
        if given.debug:
            raise
        known = error if isinstance(error, FetchError) else from_system(error)
        say(f"leviathan: {known.line()}")
        return failed(known)
    except InterruptedFetch:
        process.CHILDREN.stop()
        say(f"leviathan: {given.command} was interrupted; run it again to resume")
        return 130
