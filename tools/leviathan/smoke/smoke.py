"""The smoke test from its start to its end: the checks in a row, then the note of what passed, or the way back."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from leviathan.cluster.client import Cluster, ClusterError, connect
from leviathan.errors import UsageError
from leviathan.output import Console
from leviathan.site import Site
from leviathan.smoke import record
from leviathan.smoke.checks import CHECKS, Asking, Check
from leviathan.smoke.endpoint import Endpoint, Unreachable
from leviathan.smoke.result import Checked, Missing, Smoked, SmokeError, State, Wrong, failed

HEARTBEAT_S = 15.0
KEY_VARIABLE = "LEVIATHAN_API_KEY"


def address(site: Site) -> str:
    """The endpoint's base: `cluster.address` with the NodePort, or with its own port where it names one."""
    host = f"http://{site.cluster.address}"
    return host if urlsplit(host).port is not None else f"{host}:{site.engine.node_port}"


def run(
    site: Site,
    environ: Mapping[str, str],
    console: Console,
    *,
    url: str = "",
    cluster: Cluster | None = None,
    rollback_on_failure: bool = False,
) -> Smoked:
    """Check the endpoint; when all checks pass, note the image's digest on the Deployment.

    Arguments: `environ` may hold $LEVIATHAN_API_KEY and the kubeconfig's place; `url` instead of the site's address:
    then the cluster is neither asked nor changed; `cluster`, where there is a connection already;
    `rollback_on_failure` brings back the image that passed last.
    Errors: SmokeError, with every check, when one failed; UsageError for a wrong address or an unreadable key.
    """
    if url and rollback_on_failure:
        raise UsageError(
            "--url and --rollback-on-failure do not go together",
            why="what answers at another address need not be the Deployment that would be rolled back",
            remedy="leave one of them out, or set cluster.address",
        )
    began = console.clock()
    place = _Place(site, environ, console, cluster, use=not url)
    before = place.look()
    with Endpoint(url or address(site), key=api_key(site, environ), timeout_s=site.smoke.timeout_s) as endpoint:
        asking = Asking(endpoint, site.engine.model_name, site.smoke)
        checks = _all(asking, console)
    found = Smoked(endpoint.url, site.engine.model_name, checks, asking.measured, console.clock() - began)
    if bad := failed(checks):
        remedy = next(check.remedy for check in CHECKS if check.name == bad[0].name)
        raise SmokeError(found, remedy=remedy)
    return place.noted(found, before)


def api_key(site: Site, environ: Mapping[str, str]) -> str:
    """The endpoint's API key: from `smoke.api_key_file`, else from $LEVIATHAN_API_KEY, else none.

    Errors: UsageError when the file cannot be read, or the key is none.
    """
    file = site.smoke.api_key_file
    where = f"smoke.api_key_file {file}" if file else f"${KEY_VARIABLE}"
    try:
        key = (Path(file).read_text(encoding="utf-8") if file else environ.get(KEY_VARIABLE, "")).strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError("cannot read the API key", where=where, why=why, remedy="name the right file") from None
    if (file and not key) or not (key.isascii() and key.replace(" ", "x").isprintable()):
        raise UsageError(
            "there is no API key" if not key else "the API key has a character that no key has",
            where=where,
            remedy="put the key, and nothing else, in it",
        )
    return key


class _Place:
    """The Deployment behind the endpoint, as far as the cluster lets itself be asked; what it refuses is a note."""

    def __init__(
        self, site: Site, environ: Mapping[str, str], console: Console, cluster: Cluster | None, *, use: bool
    ) -> None:
        self.site, self.environ, self.console, self.cluster = site, environ, console, cluster
        self.use = use
        self.trouble = ""

    def look(self) -> record.Deployed | None:
        if not self.use or self.trouble:
            return None
        try:
            self.cluster = self.cluster or connect(self.site, self.environ)
            return record.deployed(self.cluster, self.site)
        except ClusterError as error:
            self.trouble = error.line()
            return None

    def noted(self, found: Smoked, before: record.Deployed | None) -> Smoked:
        """`found`, with the image noted on the Deployment; a test that passed has passed also where that fails."""
        if not self.use:
            return found
        after = self.look()
        why = self.trouble or record.reason_against(before, after)
        if not why and after is not None and self.cluster is not None:
            if after.passed == after.image:
                return _with(found, after.image, "noted before as passed: " + after.image)
            try:
                record.note(self.cluster, self.site, after.image)
                return _with(found, after.image, "noted as passed: " + after.image, changed=True)
            except ClusterError as error:
                why = error.line()
        self.console.say(f"warning: not noted as passed, so no rollback can come back to it: {why}")
        return _with(found, "", f"not noted as passed: {why}")


def _with(found: Smoked, digest: str, recorded: str, *, changed: bool = False) -> Smoked:
    return Smoked(found.url, found.model, found.checks, found.measured, found.seconds, digest, recorded, changed)


def _all(asking: Asking, console: Console) -> tuple[Checked, ...]:
    """Every check, one after the other. When nothing accepts connections the others are not asked."""
    done: list[Checked] = []
    gone = False
    for check in CHECKS:
        if gone:
            result = Checked(check.name, State.SKIPPED, check.wants(asking), "nothing answers", 0.0)
        else:
            with _Beat(console, check.name):
                result, gone = _one(check, asking, gone=not done)
        console.say(f"smoke: {result.line()}")
        done.append(result)
    return tuple(done)


def _one(check: Check, asking: Asking, *, gone: bool) -> tuple[Checked, bool]:
    """One check, and whether there is nothing to ask further (`gone`: only the first check can tell)."""
    began = asking.endpoint.clock()
    state, nothing = State.PASSED, False
    try:
        received = check.ask(asking)
    except Wrong as wrong:
        state, received = State.FAILED, wrong.received
        nothing = gone and isinstance(wrong, Unreachable)
    except Missing as missing:
        state, received = State.SKIPPED, str(missing)
    return Checked(check.name, state, check.wants(asking), received, asking.endpoint.clock() - began), nothing


class _Beat:
    """Says what is waited for: a status line on a terminal, a line every 15 s elsewhere."""

    def __init__(self, console: Console, name: str) -> None:
        self.console, self.name = console, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="smoke", daemon=True)

    def __enter__(self) -> None:
        self.console.status(f"smoke: {self.name} ...")
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.console.clear()

    def _run(self) -> None:
        began = self.console.clock()
        while not self._stop.wait(HEARTBEAT_S):
            waited = f"smoke: {self.name}, {self.console.clock() - began:.0f} s"
            self.console.status(waited)
            if not self.console.tty:
                self.console.say(waited)
