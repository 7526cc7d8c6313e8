"""Finds what blocks a rollout: a pure function of one snapshot."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from leviathan.cluster.node_commands import for_system
from leviathan.rollout.diagnose.container import container_rules
from leviathan.rollout.diagnose.deployment import deadline_rules, deployment_rules, other_pod_rules
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.diagnose.image_pull import image_rules
from leviathan.rollout.diagnose.node import lost_pod_rules, node_rules
from leviathan.rollout.diagnose.scheduling import schedule_rules
from leviathan.rollout.diagnose.service import answer_rules, service_rules
from leviathan.rollout.diagnose.volume import mount_rules
from leviathan.rollout.observe.snapshot import Snapshot

Rule = Callable[[Snapshot, Commands], Iterator[Finding]]

#: Causes come before their consequences.
RULES: tuple[Rule, ...] = (
    deployment_rules,
    node_rules,
    other_pod_rules,
    schedule_rules,
    image_rules,
    mount_rules,
    container_rules,
    lost_pod_rules,
    service_rules,
    answer_rules,
    deadline_rules,
)


def diagnose(snapshot: Snapshot, commands: Commands) -> tuple[Finding, ...]:
    """All findings: fatal ones first, causes before consequences, each cause at most once per object."""
    found = {each.key: each for rule in RULES for each in rule(snapshot, commands)}
    order = list(Severity)
    ordered = sorted(found.values(), key=lambda each: order.index(each.severity))
    return tuple(replace(each, remedy=for_system(each.remedy, snapshot.node)) for each in ordered)
