"""Every `kubectl ...` that the tool tells its user to run: verb, kinds and flags exist, and the context is in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from push_support import TOOLS

#: Source: the kubectl reference (kubernetes.io, Reference, kubectl): verb → the flags of it that the tool names.
VERBS: dict[str, set[str]] = {
    "auth": {"--subresource"},
    "config": {"--minify"},
    "create": {"-f", "--verb", "--resource", "--role", "--clusterrole", "--user", "--group", "--serviceaccount"},
    "delete": {"--force", "--grace-period"},
    "describe": {"-l"},
    "diff": {"-f"},
    "get": {"-l", "-o", "-w", "-A", "-L", "--all-namespaces", "--raw", "--field-selector", "--show-labels"},
    "label": {"--overwrite"},
    "logs": {"--tail"},
    "rollout": set(),
    "scale": {"--replicas"},
    "taint": set(),
    "top": {"-A", "--sort-by"},
    "uncordon": set(),
    "wait": {"--for", "--timeout"},
}
EVERYWHERE = {"-n", "--context"}
#: Kinds as `kubectl api-resources` names them: plural, singular or short.
KINDS = {
    "configmaps", "deployment", "limitrange", "namespace", "node", "nodes", "pod", "pods", "pv", "pvc", "replicasets",
    "resourcequota", "runtimeclass", "secrets", "service", "serviceaccounts", "services",
    "mutatingwebhookconfigurations", "validatingwebhookconfigurations",
}  # fmt: skip
#: Verbs whose first argument is a kind.
OF_KINDS = {"delete", "describe", "get", "label", "taint"}
#: Where `kubectl` stands without a context: preflight/run.py puts it into all findings; none is chosen yet; help.
BARE = ("preflight/", "cluster/kubeconfig.py", "commands/render.py")
HINT = re.compile(r"(KUBECTL|(?<![\w`\"])kubectl)((?: (?:--context|-n) [^ ;,]+)*) ([a-z][a-z-]*)((?: [^;|&\n]*)?)")


def texts() -> Iterator[tuple[str, str]]:
    """The tool's texts, each with its file: KUBECTL where the command with the site's context is put in, else X."""
    for path in sorted((TOOLS / "leviathan").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        inner |= {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield _name(path), "".join(_part(each) for each in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield _name(path), re.sub(r"{(kubectl|cluster)}", "KUBECTL", node.value)


def _name(path: Path) -> str:
    return str(path.relative_to(TOOLS / "leviathan"))


def _part(each: ast.expr) -> str:
    if isinstance(each, ast.Constant):
        return str(each.value)
    assert isinstance(each, ast.FormattedValue)
    name = ast.unparse(each.value)
    return "KUBECTL" if name.split(".")[-1] == "kubectl" or name == "commands.cluster" else "X"


def wrong(file: str, text: str) -> list[str]:
    """What is wrong with the hints of a text."""
    found = []
    for hint in HINT.finditer(text):
        command, verb, rest = hint[1], hint[3], hint[4]
        if verb not in VERBS:
            found.append(f"{file}: verb {verb}: {hint[0]}")
            continue
        flags = set(re.findall(r"(?<= )--?(?!X)[a-zA-Z][a-z-]*", re.split(r", or |, then|[.:] ", rest)[0]))
        found += [f"{file}: flag {each}: {hint[0]}" for each in flags - VERBS[verb] - EVERYWHERE]
        kind = re.match(r" ([a-z][a-z,]*)(?=[ /;,]|$)", rest)
        if verb in OF_KINDS and kind:
            kinds = set(kind[1].strip(",").split(","))
            found += [f"{file}: kind {each}: {hint[0]}" for each in kinds - KINDS]
        if command == "kubectl" and "--context" not in hint[2] and not file.startswith(BARE):
            found.append(f"{file}: no context: {hint[0]}")
    return found


def test_every_kubectl_hint_can_be_run() -> None:
    hints = [hint[0] for _, text in texts() for hint in HINT.finditer(text)]
    assert len(hints) > 50
    assert [each for file, text in texts() for each in wrong(file, text)] == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("KUBECTL descripe pods", "verb descripe"),
        ("KUBECTL delete pod x --forse", "flag --forse"),
        ("KUBECTL get podz", "kind podz"),
        ("kubectl get pods", "no context"),
    ],
)
def test_what_is_wrong_is_found(text: str, what: str) -> None:
    """The positive control."""
    (found,) = wrong("x.py", text)
    assert what in found
