"""Recognizes causes by the messages of the cluster: a table of cases, of which the first match counts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leviathan.rollout.diagnose.finding import Commands, Finding, Severity


@dataclass(frozen=True)
class Case:
    """One cause, and the pattern that recognizes it.

    Arguments: `pattern`, searched in the cluster's text, ignoring case; `code`, `severity`, `what` and `remedy` as in
    Finding. `what` and `remedy` are templates; they can use the names in `names` and the groups of `pattern`.
    """

    pattern: str
    code: str
    severity: Severity
    what: str
    remedy: str


def names(commands: Commands) -> dict[str, str]:
    """The values that templates can use."""
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
    """The first case whose pattern is in `text`, and the groups of the match. The last case must match everything."""
    for case in cases:
        match = re.search(case.pattern, text, re.IGNORECASE | re.DOTALL)
        if match is not None:
            return case, {key: value or "" for key, value in match.groupdict().items()}
    raise AssertionError("the last case does not match everything")


def explain(
    cases: Sequence[Case], text: str, where: str, commands: Commands, *, read: str = "", **more: str
) -> Finding:
    """The finding for the cluster's `text` about the object `where`.

    `read` is the text to search for the cases, if it is not `text` itself; `more` adds values for the templates.
    """
    case, groups = find(cases, read or text)
    known = names(commands) | {"where": where} | more | dict(groups)
    return Finding(case.code, case.severity, where, case.what.format_map(known), text, case.remedy.format_map(known))
