"""Pushes in a child process, as `leviathan push` does, and brings the result over; or looks for a given digest."""

import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leviathan.errors import ExitCode, LeviathanError
from leviathan.push.run_in_child import run_in_child
from leviathan.site.schema import Site
from leviathan.terminal.output import Console


@dataclass(frozen=True)
class PushReport:
    """The result of a push, from another process, or of a look."""

    words: str
    facts: dict[str, Any]

    def text(self) -> str:
        """The result for people."""
        return self.words

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return self.facts


def look_for(site: Site, environ: Mapping[str, str], console: Console) -> PushReport:
    """Look whether the registry has `image.digest`: another image, that of `image.layout`, is not to be pushed for it.

    Errors: RegistryError when it does not, and when it cannot be asked.
    """
    from leviathan.push.image_check import (  # noqa: PLC0415 - the HTTP client is slow to import
        not_in_registry,
        one_shot_client,
    )

    digest = site.image.digest
    with one_shot_client(site, environ, console) as client:
        if client.head_manifest(digest) is None:
            raise not_in_registry(client, digest)
    reference = f"{site.registry.host}/{site.image.repository}@{digest}"
    words = f"{reference}\nthe digest is given, and the registry has it: nothing is pushed"
    return PushReport(words, {"reference": reference, "digest": digest, "changed": False})


def push_guarded(site: Site, environ: Mapping[str, str], console: Console, *, dry_run: bool) -> PushReport:
    """Push as `leviathan push` does: a signal, or the end of this process, lets the chunk under way arrive.

    Errors: LeviathanError with what the child's error has.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as over:

        def work(stop: threading.Event) -> int:
            status, content = _pushed(site, environ, console, stop, dry_run=dry_run)
            json.dump(content, over)
            over.flush()
            return status

        status = run_in_child(work, console)
        over.seek(0)
        text = over.read()
    if not text:
        raise _error({"what": "the push ended without a word", "why": f"exit status {status}"}, ExitCode.PUSH)
    content = json.loads(text)
    if "error" in content:
        raise _error(content["error"], ExitCode(content["error"]["exit_code"]))
    return PushReport(content["text"], content["data"])


def _pushed(
    site: Site, environ: Mapping[str, str], console: Console, stop: threading.Event, *, dry_run: bool
) -> tuple[int, dict[str, Any]]:
    from leviathan.push.push_image import PushContext, push  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        done = push(site, PushContext(environ, console, stop), dry_run=dry_run)
        return ExitCode.DONE, {"text": done.text(), "data": done.data()}
    except LeviathanError as error:
        return error.exit_code, {"error": error.report()}
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        report = LeviathanError("internal error", why=why, remedy="leviathan push --debug, and report what it prints")
        return ExitCode.FAILED, {"error": report.report()}


def _error(report: Mapping[str, Any], code: ExitCode) -> LeviathanError:
    given = {name: str(report.get(name, "")) for name in ("where", "why", "remedy")}
    error = LeviathanError(str(report["what"]), **given)
    error.exit_code = code
    return error
