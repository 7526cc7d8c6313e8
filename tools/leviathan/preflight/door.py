"""Who may ask the engine: the API key, and the Secrets that have to be there before the pod can start."""

from collections.abc import Iterator

from leviathan.cluster.client import ClusterError
from leviathan.cluster.secrets import path
from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.site.choices import ApiKey


def access(facts: Facts) -> Iterator[CheckResult]:
    """Whether clients need a key, and whether the Secrets that nobody makes are there."""
    site = facts.site
    if site.access.api_key is ApiKey.OFF:
        where = site.endpoint or f"the Service {site.workload.service}"
        yield ok(f"no API key (access.api_key = off): everybody who reaches {where} may ask")
    else:
        yield from _secret(facts, site.api_key_secret, "")
    if site.image.pull_secret:
        by_hand = f"kubectl -n {site.cluster.namespace} create secret docker-registry {site.image.pull_secret}"
        fix = f"{by_hand} --docker-server={site.registry.host} --docker-username=NAME --docker-password=TOKEN"
        made = site.image.make_pull_secret
        yield from _secret(facts, site.image.pull_secret, "" if made else f"{fix}, or image.make_pull_secret = true")
    if site.access.tls_secret:
        by_hand = f"kubectl -n {site.cluster.namespace} create secret tls {site.access.tls_secret}"
        yield from _secret(facts, site.access.tls_secret, f"{by_hand} --cert=tls.crt --key=tls.key")


def _secret(facts: Facts, name: str, fix: str) -> Iterator[CheckResult]:
    """A Secret that is there, will be made (`fix` empty), or has to be made."""
    try:
        there = facts.get(path(facts.site, name)) is not None
    except ClusterError as error:
        if error.status != 403:
            raise
        yield warning(f"not known whether Secret/{name} is there: it may not be read", fix)
        return
    if there:
        yield ok(f"Secret/{name} is there")
    elif fix:
        yield problem(f"there is no Secret/{name}, and the pod waits for it", fix)
    else:
        yield ok(f"Secret/{name} will be made")
