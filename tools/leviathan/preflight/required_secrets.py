"""Checks the API key, and the Secrets that must exist before the pod can start."""

from collections.abc import Iterator

from leviathan.cluster.client import ClusterError
from leviathan.cluster.secrets import path
from leviathan.preflight.check_result import CheckResult, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.site.choices import ApiKey


def access(facts: Facts) -> Iterator[CheckResult]:
    """Reports whether clients need a key, and checks that Secrets which apply does not create exist."""
    site = facts.site
    if site.access.api_key is ApiKey.OFF:
        where = site.endpoint or f"the Service {site.workload.service}"
        yield ok(f"no API key is required (access.api_key = off): anyone who can reach {where} can use it")
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
    """A Secret that exists, that apply will create (`fix` empty), or that the user has to create."""
    try:
        there = facts.get(path(facts.site, name)) is not None
    except ClusterError as error:
        if error.status != 403:
            raise
        yield warning(f"unknown whether Secret/{name} exists: this kubeconfig may not read it", fix)
        return
    if there:
        yield ok(f"Secret/{name} exists")
    elif fix:
        yield problem(f"Secret/{name} does not exist, and the pod cannot start without it", fix)
    else:
        yield ok(f"apply will create Secret/{name}")
