"""The phase `preflight`: runs all checks in parallel, independently of each other."""

import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError, connect
from leviathan.cluster.node_commands import for_system
from leviathan.errors import LeviathanError
from leviathan.preflight import access, api, cards, image, node_checks, required_secrets
from leviathan.preflight import memory_plan as fits
from leviathan.preflight import namespace as space
from leviathan.preflight.check_result import (
    CheckResult,
    FactUnavailable,
    Level,
    NamedResult,
    PreflightError,
    problem,
    warning,
)
from leviathan.preflight.facts import Facts
from leviathan.site.schema import Site
from leviathan.terminal.output import Console
from leviathan.terminal.progress import Waiting
from leviathan.threads import together

#: name → the check, in the order of the table.
CHECKS: dict[str, Callable[[Facts], Iterable[CheckResult]]] = {
    "kubeconfig": api.kubeconfig,
    "api": api.api,
    "node": node_checks.node,
    "gpus": node_checks.gpus,
    "cpu": node_checks.cpu,
    "memory": node_checks.memory,
    "runtime-class": api.runtime_class,
    "namespace": space.namespace,
    "node-port": space.node_port,
    "names": space.names,
    "access": required_secrets.access,
    "permission": access.permission,
    "image": image.image,
    "registry": image.registry,
    "march": image.march,
    "cards": cards.cards,
    "plan": fits.plan,
}
#: Number of checks that run in parallel.
AT_ONCE = 6
#: `kubectl` in commands, without a context.
KUBECTL = re.compile(r"\bkubectl (?!--context )")
WIDTH = max(map(len, CHECKS))


@dataclass(frozen=True)
class Preflight:
    """The findings of all checks, in the order of the checks."""

    found: tuple[NamedResult, ...]

    def count(self, level: Level) -> int:
        """The number of findings of this level."""
        return Counter(each.finding.level for each in self.found)[level]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return self.count(Level.PROBLEM) == 0

    def text(self) -> str:
        """The table, with equal findings in one line, and a summary as its last line."""
        equal: dict[CheckResult, list[str]] = {}
        for each in self.found:
            equal.setdefault(each.finding, []).append(each.check)
        lines = []
        for found, checks in equal.items():
            name, names = (checks[0], "") if len(checks) == 1 else (f"{len(checks)} checks", f" ({', '.join(checks)})")
            lines.append(f"{found.level.value:<7}  {name:<{WIDTH}}  {found.text}{names}")
            if found.fix:
                lines.append(f"{'':<7}  {'':<{WIDTH}}  fix: {found.fix}")
        problems, warnings = self.count(Level.PROBLEM), self.count(Level.WARNING)
        lines.append(f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}, {self.count(Level.OK)} ok")
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """The findings for programs."""
        return {
            "changed": False,
            "problems": self.count(Level.PROBLEM),
            "warnings": self.count(Level.WARNING),
            "checks": [each.data() for each in self.found],
        }

    def error(self) -> PreflightError:
        """The problems as one error. The remedy is the fix of a single problem."""
        bad = [each for each in self.found if each.finding.level is Level.PROBLEM]
        return PreflightError(
            "preflight found a problem" if len(bad) == 1 else f"preflight found {len(bad)} problems",
            why=" | ".join(f"{each.check}: {each.finding.text}" for each in bad),
            remedy=bad[0].finding.fix if len(bad) == 1 else "leviathan preflight shows the fix for each",
        )


def run(
    site: Site,
    environ: Mapping[str, str],
    console: Console,
    *,
    connecting: Callable[[], Cluster] | None = None,
    header: Path | None = None,
    gpu_memory: str = "",
) -> Preflight:
    """Run all checks. Changes nothing, and raises no errors: a failed check becomes a finding.

    Arguments: `connecting` creates the cluster, by default from the kubeconfig; `header`, a GGUF folder, header dump or
    model manifest to plan with; `gpu_memory`, MB of each GPU, by default those of engine.gpu_split.
    """
    facts = Facts(
        site,
        environ,
        console,
        connect=connecting or (lambda: connect(site, environ)),
        header=header,
        gpu_memory=gpu_memory,
    )
    done: list[str] = []
    lock = threading.Lock()
    waiting = Waiting(console, f"preflight: 0 of {len(CHECKS)}")

    def one(name: str) -> tuple[NamedResult, ...]:
        found = tuple(NamedResult(name, with_context(each, facts)) for each in ask(CHECKS[name], facts))
        with lock:
            done.append(name)
            left = [each for each in CHECKS if each not in done]
            waiting.label = f"preflight: {len(done)} of {len(CHECKS)}{f', waiting for {left[0]}' if left else ''}"
            console.status(waiting.label)
        return found

    with waiting:
        found = together(one, tuple(CHECKS), at_once=AT_ONCE)
    return Preflight(tuple(each for named in found for each in named))


def with_context(found: CheckResult, facts: Facts) -> CheckResult:
    """The finding, with the kubeconfig context added to the kubectl commands in its fix.

    Commands on the node are those of its own system.
    """
    with suppress(ClusterError, FactUnavailable):
        found = replace(found, fix=for_system(found.fix, facts.node())) if "talosctl" in found.fix else found
    try:
        context = facts.connection.context
    except ClusterError:
        return found
    return (
        replace(found, fix=KUBECTL.sub(f"kubectl --context {shlex.quote(context)} ", found.fix)) if context else found
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def ask(check: Callable[[Facts], Iterable[CheckResult]], facts: Facts) -> list[CheckResult]:
    """The findings of a check. If the check fails, that is a finding, too."""
    found: list[CheckResult] = []
    try:
        found.extend(check(facts))
    except FactUnavailable as error:
        found.append(warning(f"unknown: {error.what}"))
    except ClusterError as error:
        text = f"{error.what}: {error.why}" if error.why else error.what
        found.append(warning(f"unknown: {text}", error.remedy) if error.status == 403 else problem(text, error.remedy))
    except LeviathanError as error:
        where = f" ({error.where})" if error.where else ""
        found.append(problem(f"{error.what}{where}{f': {error.why}' if error.why else ''}", error.remedy))
    except Exception as error:
        text = f"this check failed: {type(error).__name__}: {error}"
        found.append(problem(text, "run the command again with --debug, and report what it prints"))
        facts.console.debug(repr(error))
    return found
