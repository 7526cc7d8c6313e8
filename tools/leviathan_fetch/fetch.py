"""The command `fetch`: see to it that the store has every artifact of the flake."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leviathan_fetch import store
from leviathan_fetch.errors import FetchError
from leviathan_fetch.lockfile import exclusive
from leviathan_fetch.options import Options
from leviathan_fetch.project import Project
from leviathan_fetch.records import Record, parse


@dataclass(frozen=True)
class Summary:
    """What is in the store: all artifacts, of them those added now, and the bytes that came in for that."""

    artifacts: int
    added: int
    received: int


def read_records(options: Options, project: Project) -> list[Record]:
    """The artifacts to have. Errors: FetchError when the list cannot be had or does not parse."""
    if options.artifacts is None:
        return parse(store.evaluate("lib.artifacts", project.root), "nix eval .#lib.artifacts")
    if options.artifacts == "-":
        text = sys.stdin.read()
        if not text.strip():
            raise FetchError("the list of artifacts on stdin is empty: the command before the pipe failed, see above")
        return parse(text, "stdin")
    try:
        return parse(Path(options.artifacts).read_text(encoding="utf-8"), options.artifacts)
    except UnicodeDecodeError as error:
        raise FetchError(f"{options.artifacts} is not UTF-8 at byte {error.start}", "correct --artifacts") from None
    except OSError as error:
        raise FetchError(f"cannot read {options.artifacts}: {error.strerror}", "correct --artifacts") from None


def fetch(options: Options, project: Project, say: Callable[[str], None]) -> Summary:
    """Bring all artifacts into the store and keep them from the garbage collector.

    `say` takes lines for people. Errors: FetchError with what is missing and what to do.
    """
    records = read_records(options, project)
    missing = store.invalid(records)
    roots = project.state / "roots"
    summary = Summary(len({record.store for record in records}), 0, 0)
    if not missing and store.kept(records, roots):
        return summary
    with exclusive(project.state / "fetch.lock", say) as handle:
        missing = store.invalid(missing)  # another fetch may have brought them while this one waited
        if missing:
            from leviathan_fetch.bring import bring  # noqa: PLC0415 - costs 0.1 s, and most fetches need nothing

            outcome = bring(missing, options, project, handle, project.downloads)
            summary = Summary(summary.artifacts, outcome.added, outcome.received)
        store.keep(records, roots)
    return summary
