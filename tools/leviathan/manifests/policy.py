"""What every manifest must keep to, and the exceptions, each with its reason.

An exception that nothing needs is a finding too, so that the list stays true.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leviathan.manifests.files import Object
from leviathan.manifests.policy_rules import ENFORCE, MANAGED, RULES, Violation, containers, named, security_of
from leviathan.site.choices import Variant
from leviathan.site.schema import Site
from leviathan.site.start_budget import StartBudget

__all__ = ["ENFORCE", "EXCEPTIONS", "MANAGED", "Except", "Violation", "check", "exceptions"]


@dataclass(frozen=True)
class Except:
    """A rule that a variant may break, and why. `privileged` says for which variant it holds."""

    rule: str
    privileged: bool
    reason: str


EXCEPTIONS = (
    Except("not-privileged", True, "the pod mounts a block device of the node, as the runbook wants it"),
    Except("no-new-privileges", True, "Kubernetes refuses allowPrivilegeEscalation: false with privileged: true"),
    Except("no-capabilities", True, "a privileged container has all of them, whatever it drops"),
    Except("not-root", True, "mount(2) is for root"),
    Except("disk-names", True, "the partition may be given by one of udev's lasting names"),
    Except("seccomp", True, "a privileged container runs without a profile, whatever it names"),
)


def exceptions(site: Site) -> tuple[Except, ...]:
    """The exceptions of a site: the variants', those that follow from its keys, and its own with their reasons."""
    privileged = site.workload.variant is Variant.PRIVILEGED
    found = list(EXCEPTIONS)
    if not site.node_selector:
        found.append(Except("node", privileged, "cluster.node and cluster.node_labels are empty: any node will do"))
    for text in site.policy.exceptions:
        rule, _, reason = text.partition(":")
        found.append(Except(rule.strip(), privileged, reason.strip()))
    return tuple(found)


def check(objects: Sequence[Object], budget: StartBudget, exceptions: Sequence[Except] = EXCEPTIONS) -> list[Violation]:
    """All findings that no exception covers, and all exceptions that cover none.

    An object of the site's own may lack what the rules look at; that is the one finding then.
    """
    try:
        found = [finding for rule in RULES for finding in rule(objects, budget)]
        privileged = any(security_of(container).get("privileged") for _, _, container in containers(objects))
    except (KeyError, TypeError, AttributeError):
        kinds = " or ".join(sorted({named(each) for each in objects if each["kind"] in ("Deployment", "Service")}))
        return [Violation("complete", kinds, "a field that the policy looks at is missing, or of another type")]
    active = {each.rule: each for each in exceptions if each.privileged == privileged}
    broken = {finding.rule for finding in found}
    unused = [
        Violation("stale-exception", each.rule, f"nothing breaks it: {each.reason}")
        for each in active.values()
        if each.rule not in broken
    ]
    return [finding for finding in found if finding.rule not in active] + unused
