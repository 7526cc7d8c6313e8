"""Every `kubectl ...` that the tool tells its user to run: its verb, kinds and flags exist; it says where it acts."""

import re
from pathlib import Path

import pytest
from source_texts import texts

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
    "port-forward": set(),
    "rollout": set(),
    "scale": {"--replicas"},
    "taint": set(),
    "top": {"-A", "--sort-by"},
    "uncordon": set(),
    "wait": {"--for", "--timeout"},
}
EVERYWHERE = {"-n", "--context"}
#: Kinds as `kubectl api-resources` names them: plural, singular or short. The first live in a namespace.
NAMESPACED = {
    "configmaps", "deployment", "deployments", "limitrange", "pod", "pods", "persistentvolumeclaim", "pvc", "secret",
    "job", "replicaset", "replicasets", "resourcequota", "secrets", "service", "serviceaccounts", "services",
}  # fmt: skip
KINDS = NAMESPACED | {
    "namespace", "node", "nodes", "persistentvolume", "pv", "runtimeclass",
    "mutatingwebhookconfigurations", "validatingwebhookconfigurations",
}  # fmt: skip
#: Verbs whose first argument is a kind.
OF_KINDS = {"delete", "describe", "get", "label", "taint"}
#: Verbs that act on what lives in a namespace, whatever follows.
IN_A_NAMESPACE = {"logs", "rollout", "scale"}
#: Where `kubectl` stands without a context: preflight_phase.py puts it into all findings; none is chosen yet; help.
BARE = ("preflight/", "cluster/kubeconfig.py", "commands/render.py")
HINT = re.compile(r"(KUBECTL|(?<![\w`\"])kubectl)((?: (?:--context|-n) [^ ;,]+)*) ([a-z][a-z-]*)((?: [^;|&\n]*)?)")


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
        if not has_place(hint):
            found.append(f"{file}: no namespace: {hint[0]}")
        if command == "kubectl" and "--context" not in hint[2] and not file.startswith(BARE):
            found.append(f"{file}: no context: {hint[0]}")
    return found


def has_place(hint: re.Match[str]) -> bool:
    """Whether a hint names the namespace of what it is about, or need not."""
    verb, rest = hint[3], hint[4]
    if " -n " in hint[2] + rest or re.search(r" (-A|--all-namespaces|--raw)\b", rest):
        return True
    if verb not in OF_KINDS | {"wait", "auth", *IN_A_NAMESPACE}:
        return True
    about = rest.removeprefix(" can-i X") if verb == "auth" else re.sub(r" --?[a-z][\w-]*(=\S+)?", "", rest)
    kinds = re.match(r" ([a-z][a-z,]*)\b", about)
    # What is put in only when it runs (X, {where}) may live in a namespace.
    return kinds is not None and verb not in IN_A_NAMESPACE and not set(kinds[1].split(",")) & NAMESPACED


def test_every_kubectl_hint_can_be_run() -> None:
    sources = [each for each in texts() if not each.doc]
    hints = [hint[0] for each in sources for hint in HINT.finditer(each.text)]
    assert len(hints) > 50
    assert [found for each in sources for found in wrong(each.file, each.text)] == []


def test_every_kubectl_hint_of_the_goldens_can_be_run() -> None:
    """As the user reads them, with the names of real objects; preflight's get their context in its run."""
    folder = Path(__file__).with_name("goldens")
    lines = [
        line
        for path in sorted(folder.rglob("*.txt"))
        if not path.name.startswith("help-")
        for line in path.read_text().splitlines()
    ]
    hints = [hint for line in lines for hint in HINT.finditer(line)]
    assert sum(" -n " in hint[0] for hint in hints) > 30
    assert [found for line in lines for found in wrong("preflight/", line)] == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("KUBECTL -n X descripe pods", "verb descripe"),
        ("KUBECTL delete pod x -n X --forse", "flag --forse"),
        ("KUBECTL get podz", "kind podz"),
        ("kubectl get nodes", "no context"),
        ("KUBECTL get pods", "no namespace"),
        ("KUBECTL describe {where}", "no namespace"),
        ("KUBECTL get nodes,pods -o wide", "no namespace"),
        ("KUBECTL wait --for=delete pod/x", "no namespace"),
        ("KUBECTL logs x", "no namespace"),
    ],
)
def test_what_is_wrong_is_found(text: str, what: str) -> None:
    """The positive control."""
    (found,) = wrong("x.py", text)
    assert what in found


@pytest.mark.parametrize(
    "text", ["KUBECTL get pods -A", "KUBECTL describe node x", "KUBECTL wait --for=delete namespace/x"]
)
def test_what_needs_no_namespace(text: str) -> None:
    assert wrong("x.py", text) == []
