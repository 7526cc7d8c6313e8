"""Tells causes apart by the cluster's words: a table of cases, of which the first that fits is taken."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leviathan.rollout.diagnose.finding import Commands, Finding, Severity


@dataclass(frozen=True)
class Case:
    """One cause and how it is known.

    Arguments: `pattern`, searched in the cluster's text without regard to case; `code`, `severity`, `what` and `remedy`
    as in Finding; `what` and `remedy` are templates that know the names of `names` and the groups of `pattern`.
    """

    pattern: str
    code: str
    severity: Severity
    what: str
    remedy: str


def names(commands: Commands) -> dict[str, str]:
    """What the templates of cases may name."""
    site = commands.site
    return {
        "kubectl": commands.kubectl,
        "cluster": commands.cluster,
        "deployment": commands.deployment,
        "namespace": site.cluster.namespace,
        "node": site.where,
        "address": site.cluster.address,
        "registry": commands.registry,
        "host": site.registry.host,
        "repository": site.image.repository,
        "runtime_class": site.cluster.runtime_class,
        "partition": site.storage.partition,
        "filesystem": site.storage.filesystem,
        "port": str(site.engine.port),
        "node_port": str(site.engine.node_port),
        "endpoint": commands.endpoint,
        "volume": site.volume,
        "gpu_resource": site.resources.gpu_resource,
        "memory_limit": site.resources.memory_limit,
        "memory_request": site.resources.memory_request,
        "cpu_request": site.resources.cpu_request,
        "gpus": str(site.resources.gpus),
        "app": site.workload.app,
    }


def find(cases: Sequence[Case], text: str) -> tuple[Case, Mapping[str, str]]:
    """The first case whose pattern is in `text`, and the groups of the match; the last case must fit everything."""
    for case in cases:
        match = re.search(case.pattern, text, re.IGNORECASE | re.DOTALL)
        if match is not None:
            return case, {key: value or "" for key, value in match.groupdict().items()}
    raise AssertionError("the last case does not fit everything")


def explain(
    cases: Sequence[Case], text: str, where: str, commands: Commands, *, read: str = "", **more: str
) -> Finding:
    """The finding for the cluster's `text` about the object `where`.

    `read` is what the cases are looked for in, when that is not `text` itself; `more` adds names for the templates.
    """
    case, groups = find(cases, read or text)
    known = names(commands) | {"where": where} | more | dict(groups)
    return Finding(case.code, case.severity, where, case.what.format_map(known), text, case.remedy.format_map(known))
