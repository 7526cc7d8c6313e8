"""Runs the smoke test: all checks in sequence, then records the image that passed, or rolls back."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from leviathan.cluster.client import Cluster, connect
from leviathan.cluster.port_forward import endpoint_of
from leviathan.errors import UsageError
from leviathan.site.schema import Site
from leviathan.smoke.checks import CHECKS, Asking, Check
from leviathan.smoke.endpoint import Endpoint, Unreachable
from leviathan.smoke.result import Checked, Missing, Smoked, SmokeError, State, Unjudged, Wrong, failed
from leviathan.smoke.tested_deployment import TestedDeployment
from leviathan.terminal.output import Console
from leviathan.terminal.progress import Waiting

KEY_VARIABLE = "LEVIATHAN_API_KEY"


def run(
    site: Site,
    environ: Mapping[str, str],
    console: Console,
    *,
    url: str = "",
    cluster: Cluster | None = None,
    rollback_on_failure: bool = False,
    dry_run: bool = False,
) -> Smoked:
    """Check the endpoint. If all checks pass, record the image's digest on the Deployment.

    Arguments: `environ`, with $LEVIATHAN_API_KEY and $KUBECONFIG; `url`, an endpoint to test instead of the site's,
    without the cluster; `cluster`, an existing connection; `rollback_on_failure`, roll back to the last image that
    passed; `dry_run`, run the checks, but record nothing.
    Errors: SmokeError, with all checks, if one failed; UsageError for a wrong address or an unreadable key.
    """
    if dry_run and rollback_on_failure:
        raise UsageError(
            "--dry-run cannot be used with --rollback-on-failure",
            why="a dry run changes nothing",
            remedy="remove one of them; to see what a rollback would do: leviathan rollback --dry-run",
        )
    if url and rollback_on_failure:
        raise UsageError(
            "--url cannot be used with --rollback-on-failure",
            why="the server at that URL may not be the Deployment that would be rolled back",
            remedy="remove one of them, or set cluster.address",
        )
    began = console.clock()
    place = None if url else TestedDeployment(site, environ, console, cluster)
    before = place.look() if place else None
    way = (
        nullcontext(url) if url else endpoint_of(site, lambda: place.connection() if place else connect(site, environ))
    )
    with (
        way as where,
        Endpoint(
            where,
            key=api_key(site, environ) or (place.api_key() if place else ""),
            timeout_s=site.smoke.timeout_s,
            proxies=bool(url),  # the NodePort is in the local network, but another address may not be
        ) as endpoint,
    ):
        asking = Asking(endpoint, site.engine.model_name, site.smoke)
        checks = _all(asking, console)
    found = Smoked(endpoint.url, site.engine.model_name, checks, asking.measured, console.clock() - began)
    if bad := failed(checks):
        remedy = next(check.remedy for check in CHECKS if check.name == bad[0].name)
        judged = any(check.judged for check in bad)
        done = place.failed(before, judged=judged) if place and rollback_on_failure else ""
        raise SmokeError(found, remedy=remedy, rollback=done)
    if place is None:
        return found
    digest, recorded, changed = place.passed(before, dry_run=dry_run)
    return replace(found, digest=digest, recorded=recorded, changed=changed)


def api_key(site: Site, environ: Mapping[str, str]) -> str:
    """The endpoint's API key: from `smoke.api_key_file`, else from $LEVIATHAN_API_KEY, else none.

    Errors: UsageError if the file cannot be read, or the key is invalid.
    """
    file = site.smoke.api_key_file
    where = f"smoke.api_key_file {file}" if file else f"${KEY_VARIABLE}"
    try:
        key = (Path(file).read_text(encoding="utf-8") if file else environ.get(KEY_VARIABLE, "")).strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a text file"
        raise UsageError("cannot read the API key", where=where, why=why, remedy="name the right file") from None
    if (file and not key) or not (key.isascii() and key.replace(" ", "x").isprintable()):
        raise UsageError(
            "the API key is empty" if not key else "the API key has a character that is not allowed in a key",
            where=where,
            remedy="write only the key into it",
        )
    return key


def _all(asking: Asking, console: Console) -> tuple[Checked, ...]:
    """Run all checks in sequence. If no connection is possible, skip the remaining ones."""
    done: list[Checked] = []
    gone = False
    for check in CHECKS:
        if gone:
            result = Checked(check.name, State.SKIPPED, check.wants(asking), "the endpoint does not answer", 0.0)
        else:
            with Waiting(console, f"smoke: {check.name}"):
                result, gone = _one(check, asking, gone=not done)
        console.say(f"smoke: {result.line()}")
        done.append(result)
    return tuple(done)


def _one(check: Check, asking: Asking, *, gone: bool) -> tuple[Checked, bool]:
    """Run one check; also whether the remaining ones are pointless (`gone`: only the first check can tell)."""
    began = asking.endpoint.clock()
    state, nothing, judged = State.PASSED, False, True
    try:
        received = check.ask(asking)
    except Wrong as wrong:
        state, received = State.FAILED, wrong.received
        nothing = gone and isinstance(wrong, Unreachable)
        judged = not isinstance(wrong, Unjudged)
    except Missing as missing:
        state, received = State.SKIPPED, str(missing)
    seconds = asking.endpoint.clock() - began
    return Checked(check.name, state, check.wants(asking), received, seconds, judged), nothing
