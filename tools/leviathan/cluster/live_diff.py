"""Shows what applying would change: compares the live objects with the result of a dry run on the server."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import Cluster, exits
from leviathan.cluster.dry_run import Change, Conflict, Step, look
from leviathan.cluster.kinds import title
from leviathan.cluster.managed_fields import without_servers
from leviathan.cluster.prune import labelled, stale
from leviathan.errors import ExitCode
from leviathan.manifests.files import Object, dump
from leviathan.manifests.rendering import render
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

#: The exit status of `leviathan diff` if there are differences, as for other planning tools.
DIFFERENT = 2


@dataclass(frozen=True)
class Difference:
    """One object that applying would change: `before` and `after` as YAML, empty if it does not exist."""

    title: str
    change: Change
    before: str
    after: str
    conflicts: tuple[Conflict, ...] = ()

    def text(self) -> str:
        """A unified diff; a comment line if only the field manager changes."""
        old = f"live/{self.title}" if self.before else "/dev/null"
        new = f"site/{self.title}" if self.after else "/dev/null"
        lines = list(
            difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), old, new, lineterm="", n=3)
        )
        return "\n".join(lines) if lines else f"# {self.title}: same values, leviathan becomes the field manager"

    def data(self) -> dict[str, Any]:
        """The difference for programs."""
        return {
            "object": self.title,
            "change": self.change.value,
            "diff": self.text(),
            "conflicts": [each.data() for each in self.conflicts],
        }


@dataclass(frozen=True)
class Differences:
    """The result of a diff; `looked_at` objects were compared."""

    found: tuple[Difference, ...]
    looked_at: int

    @property
    def different(self) -> bool:
        """Whether applying would change anything."""
        return bool(self.found)

    def text(self) -> str:
        """The unified diffs; empty if there are no differences."""
        return "\n".join(each.text() for each in self.found)

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "different": self.different,
            "looked_at": self.looked_at,
            "objects": [each.data() for each in self.found],
        }


def run(
    site: Site, cluster: Cluster, console: Console, *, environ: Mapping[str, str], prune: bool = True
) -> Differences:
    """Compare the cluster with the result of applying the site's manifests. Changes nothing.

    Fields that other managers own with different values are shown as changed, and reported as conflicts. Leaves out
    `managedFields`, `status` and fields that the server counts up.
    Errors: ClusterError and LayoutError (exit status APPLY, never 2), RenderError.
    """
    with exits(ExitCode.APPLY):
        rendered = render(site, environ)
        steps = look(cluster, rendered.objects)
        found = labelled(cluster, site.cluster.namespace, console.say, site.release) if prune else []
    differences = [_difference(each) for each in steps if each.change is not Change.UNCHANGED]
    gone = [Difference(title(each), Change.PRUNED, _yaml(each), "") for each in stale(found, rendered.objects)]
    for conflict in (each for step in steps for each in step.conflicts):
        console.say(f"conflict: {conflict.text()}")
    return Differences((*differences, *gone), len(steps) + len(gone))


def _difference(step: Step) -> Difference:
    after = step.result if step.result is not None else step.wanted
    before = _yaml(step.live) if step.live is not None else ""
    return Difference(step.title, step.change, before, _yaml(after), step.conflicts)


def _yaml(each: Object) -> str:
    return dump([without_servers(each)])
