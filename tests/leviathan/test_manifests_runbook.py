"""The manifest, compared with the runbook's text (`runbook/phase-4.yaml`, verbatim): each deviation has its reason.

A deviation is a field or an entry of a list that is new or has another value, or one that is gone. New ones need a
comment right above them, unless they lie in something new that has one; for those that are gone a comment names them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from leviathan.manifests.files import FILES, manifest_folder
from leviathan.site.choices import Variant

OURS = manifest_folder({}) / FILES[Variant.PRIVILEGED]
RUNBOOK = Path(__file__).with_name("runbook") / "phase-4.yaml"


@dataclass(frozen=True)
class Deviation:
    """Where the manifests differ: `path`, and the line in ours (from 0), None for what is gone."""

    path: str
    line: int | None


def documents(text: str) -> dict[str, yaml.MappingNode]:
    """The objects of a manifest by their kind, as nodes that know their lines."""
    nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    return {value(node)["kind"]: node for node in nodes if isinstance(node, yaml.MappingNode)}


def value(node: yaml.Node) -> Any:
    """What a node says."""
    return yaml.SafeLoader("").construct_object(node, deep=True)


def children(node: yaml.Node) -> dict[str, tuple[yaml.Node, int]] | None:
    """The fields of a mapping or the named entries of a list, each with its line; None of anything else."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: (each, key.start_mark.line) for key, each in node.value}
    if isinstance(node, yaml.SequenceNode) and all(isinstance(each, yaml.MappingNode) for each in node.value):
        entries = [(value(each), each) for each in node.value]
        keys = ("containerPort", "name", "key", "mountPath")
        names = [next((one[key] for key in keys if key in one), one) for one, _ in entries]
        return {f"[{name}]": (each, each.start_mark.line) for name, (_, each) in zip(names, entries, strict=True)}
    return None


def deviations(ours: yaml.Node, theirs: yaml.Node, path: str) -> Iterator[Deviation]:
    """The outermost differences below `path`."""
    mine, others = children(ours), children(theirs)
    if mine is None or others is None:
        return
    for name, (node, line) in mine.items():
        where = f"{path}.{name}"
        if name not in others:
            yield Deviation(where, line)
        elif value(node) != value(others[name][0]):
            if children(node) is None or children(others[name][0]) is None:
                yield Deviation(where, line)
            else:
                yield from deviations(node, others[name][0], where)
    yield from (Deviation(f"{path}.{name}", None) for name in others if name not in mine)


def found(text: str) -> list[Deviation]:
    """All deviations of a manifest's text; an object that the runbook lacks is one."""
    ours, theirs = documents(text), documents(RUNBOOK.read_text(encoding="utf-8"))
    assert theirs.keys() <= ours.keys()
    new = [Deviation(kind, node.start_mark.line) for kind, node in ours.items() if kind not in theirs]
    return new + [each for kind, node in theirs.items() for each in deviations(ours[kind], node, kind)]


def unexplained(text: str) -> list[str]:
    """The paths of deviations without a reason."""
    lines = text.splitlines()
    words = " ".join(line.split("#", 1)[1] for line in lines if line.lstrip().startswith("#"))

    def has_reason(each: Deviation) -> bool:
        if each.line is None:
            gone = each.path.rsplit(".", 1)[1]
            return re.search(rf"Runbook: [^.]*\b{gone}\b", words) is not None
        return re.match(r"\s*# \S", lines[each.line - 1]) is not None or "  # " in lines[each.line]

    return [each.path for each in found(text) if not has_reason(each)]


def test_every_deviation_has_its_reason_in_a_comment() -> None:
    text = OURS.read_text(encoding="utf-8")
    assert len(found(text)) > 25
    assert unexplained(text) == []


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("  replicas: 1\n", "  replicas: 2\n", "Deployment.spec.replicas"),
        ('              memory: 360Gi\n', '              memory: 200Gi\n', "resources.limits.memory"),
        ("  type: NodePort\n", "  type: NodePort\n  sessionAffinity: ClientIP\n", "Service.spec.sessionAffinity"),
        ("        - key: nvidia.com/gpu\n          operator: Exists\n          effect: NoSchedule\n", "",
         "Deployment.spec.template.spec.tolerations.[nvidia.com/gpu]"),
        ("      runtimeClassName: nvidia\n", "", "Deployment.spec.template.spec.runtimeClassName"),
    ],
)  # fmt: skip
def test_a_deviation_without_a_reason_is_found(before: str, after: str, path: str) -> None:
    """The positive control."""
    text = OURS.read_text(encoding="utf-8")
    assert before in text
    assert [each.endswith(path) for each in unexplained(text.replace(before, after, 1))] == [True]
