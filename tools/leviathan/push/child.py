"""Pushes in a child process, as `leviathan push` does, and returns the result; or only checks for `image.digest`."""

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
    """The result of a push in the child process, or of a check."""

    words: str
    facts: dict[str, Any]

    def text(self) -> str:
        """The result for people."""
        return self.words

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return self.facts


def look_for(site: Site, environ: Mapping[str, str], console: Console) -> PushReport:
    """Check that the registry has `image.digest`. The image in `image.layout` is a different one, and is not pushed.

    Errors: RegistryError if the registry does not have it, or cannot be reached.
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
    words = f"{reference}\nimage.digest is set, and the registry has it: nothing to push"
    return PushReport(words, {"reference": reference, "digest": digest, "changed": False})


def push_guarded(site: Site, environ: Mapping[str, str], console: Console, *, dry_run: bool) -> PushReport:
    """Push as `leviathan push` does: after a signal, or the end of this process, the current chunk is still completed.

    Errors: LeviathanError with the fields of the child's error.
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
        report = {"what": "the push process ended without a result", "why": f"exit status {status}"}
        raise _error(report | {"remedy": "run the command again with --debug"}, ExitCode.PUSH)
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
