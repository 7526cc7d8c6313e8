"""Turns what was seen into the lines of a site file; what cannot be seen is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from leviathan.errors import UsageError
from leviathan.init.observe import GpuNode, Seen

#: Of a card's memory this share is the engine's; the rest is CUDA's context and the desktop's.
CARD_SHARE = 0.92
GIB = 1 << 30
#: Bytes of the node that stay with the system.
SYSTEM = 8 * GIB
#: What the model must be asked for: key → (question, example).
MODEL = {
    "model.repository": ("Hugging Face repository with the GGUF files", "unsloth/DeepSeek-R1-0528-GGUF"),
    "model.include": ("pattern of its files", "UD-Q2_K_XL/*.gguf"),
    "model.size_gb": ("their size in GB", "251"),
}
REGISTRY = {
    "registry.host": ("registry for the image", "ghcr.io"),
    "image.repository": ("repository for the image on it", "acme-lab/leviathan"),
}
#: Gets a question, an example and a default, and gives the answer.
Ask = Callable[[str, str, str], str]


@dataclass(frozen=True)
class Line:
    """One key of the file: its value as text, and where it comes from."""

    key: str
    value: str
    why: str


def propose(seen: Seen, given: Mapping[str, str], ask: Ask | None) -> list[Line]:
    """The lines of the site file.

    Arguments: `given`, keys that the user has set; `ask`, None where nobody can be asked. Errors: UsageError if no
    GPU node is found, or something is not known and nobody can be asked.
    """
    node = _node(seen, given, ask)
    lines = [*_node_lines(seen, node), *_size_lines(node), *_storage_lines(seen, given), *_release_lines()]
    known = {line.key: line for line in lines}
    if len(seen.logins) == 1:
        known["registry.host"] = Line("registry.host", seen.logins[0], "the only registry with a login")
    wanted = REGISTRY | ({} if given.get("model.pod") or given.get("model.urls") else MODEL)
    missing = [key for key in wanted if key not in known and key not in given]
    if missing and ask is None:
        hints = " ".join(f"--set {key}={wanted[key][1]}" for key in missing)
        raise UsageError("not everything can be seen", why=f"missing: {', '.join(missing)}", remedy=f"add {hints}")
    for key in missing:
        assert ask is not None
        known[key] = Line(key, ask(*wanted[key], ""), "asked")
    known.setdefault("registry.plain_http", Line("registry.plain_http", "false", "HTTPS"))
    for key, value in given.items():
        known[key] = Line(key, value, "--set")
    host = known["registry.host"].value
    if host in seen.logins:
        known["image.pull_secret"] = Line("image.pull_secret", "registry-login", "the kubelet needs the login too")
        known["image.make_pull_secret"] = Line("image.make_pull_secret", "true", f"made from your login for {host}")
    _model_path(known)
    return list(known.values())


def _node(seen: Seen, given: Mapping[str, str], ask: Ask | None) -> GpuNode:
    if not seen.nodes:
        raise UsageError(
            "no node offers a GPU",
            why="no allocatable resource begins with nvidia.com/",
            remedy="install NVIDIA's device plugin or the GPU operator, then leviathan init again",
        )
    if given.get("cluster.node"):
        found = next((node for node in seen.nodes if node.name == given["cluster.node"]), None)
        if found is None:
            names = ", ".join(node.name for node in seen.nodes)
            raise UsageError(f"{given['cluster.node']} offers no GPU", why=f"nodes with GPUs: {names}", remedy="")
        return found
    if len(seen.nodes) == 1 or ask is None:
        return seen.nodes[0]
    listed = "\n".join(f"  {node.text()}" for node in seen.nodes)
    name = ask(f"nodes with GPUs:\n{listed}\nwhich one", seen.nodes[0].name, seen.nodes[0].name)
    return _node(seen, {"cluster.node": name}, None)


def _node_lines(seen: Seen, node: GpuNode) -> list[Line]:
    runtime = "nvidia" if "nvidia" in seen.runtimes else ""
    why = "it is there" if runtime else "there is no RuntimeClass nvidia: the node's default runtime"
    return [
        Line("cluster.namespace", "leviathan", "a namespace of its own"),
        Line("cluster.node", node.name, node.text()),
        Line("cluster.address", node.address or node.name, "its InternalIP"),
        Line("cluster.runtime_class", runtime, why),
        Line("cluster.node_memory", f"{node.memory // GIB}Gi", "what the node can give"),
        Line("resources.gpus", str(node.gpus), "all of the node's"),
        Line("resources.gpu_resource", node.resource, "what the device plugin offers"),
    ]


def _size_lines(node: GpuNode) -> list[Line]:
    share = int(node.gpu_mb * CARD_SHARE) // 500 * 500 or 22000
    why = f"{CARD_SHARE:.0%} of each card" if node.gpu_mb else "the card's memory is not known: correct it"
    limit, cpus = max(GIB, node.memory - SYSTEM), max(1, node.cpus - 1)
    return [
        Line("engine.gpu_split", ",".join([str(share)] * node.gpus), why),
        Line("engine.cpu_threads", str(max(1, node.cpus // 2)), "one a core, of two hardware threads"),
        Line("resources.cpu_limit", str(cpus), "one CPU stays with the system"),
        Line("resources.cpu_request", str(max(1, cpus // 2)), "half of it"),
        Line("resources.memory_limit", f"{limit // GIB}Gi", "8 GiB stay with the system"),
        Line("resources.memory_request", f"{max(1, limit * 8 // 10 // GIB)}Gi", "four fifths of it"),
        Line("resources.shm", "16Gi", "enough for one engine"),
    ]


def _storage_lines(seen: Seen, given: Mapping[str, str]) -> list[Line]:
    if given.get("storage.kind") not in (None, "pvc"):
        return []
    if given.get("storage.path"):
        return [Line("storage.kind", "host_path", "storage.path is given")]
    if not seen.classes and "storage.kind" not in given:
        raise UsageError(
            "the cluster has no StorageClass",
            remedy="--set storage.path=/srv/models for a folder of the node, or storage.kind=partition",
        )
    size = float(given.get("model.size_gb") or 400) * 1.2
    found = [Line("storage.kind", "pvc", "a claim that apply makes")]
    if seen.classes and "storage.storage_class" not in given:
        why = f"the default one of {', '.join(seen.classes)}" if len(seen.classes) > 1 else "the cluster's only one"
        found.append(Line("storage.storage_class", seen.classes[0], why))
    return [*found, Line("storage.size_gb", f"{size:.0f}", "the model and a fifth more")]


def _release_lines() -> list[Line]:
    names = ("workload.deployment", "workload.service", "workload.app")
    return [
        *(Line(key, "leviathan", "one name for all objects") for key in names),
        Line("access.api_key", "secret", "the first deploy makes a key and prints how to read it"),
        Line("model.pod", "", "no pod of others downloads: a Job of ours does"),
        Line("model.manifest", "model.json", "written by the download, read by plan and preflight"),
    ]


def _model_path(known: dict[str, Line]) -> None:
    """The model's folder and name, after its repository and pattern."""
    repository = known["model.repository"].value if "model.repository" in known else "model"
    pattern = known["model.include"].value.split("/")[0] if "model.include" in known else ""
    name = repository.rpartition("/")[2]
    folder = f"{name}-{pattern}" if pattern and "*" not in pattern else name
    short = name.lower().removesuffix("-gguf") or "model"
    known.setdefault("engine.model_path", Line("engine.model_path", f"/models/{folder}", "below storage.mount_point"))
    known.setdefault("engine.model_name", Line("engine.model_name", short, "the name that clients ask for"))
    size = float(known["model.size_gb"].value) if "model.size_gb" in known else 0.0
    if size and known.get("storage.size_gb", Line("", "0", "")).why.startswith("the model"):
        known["storage.size_gb"] = Line("storage.size_gb", f"{size * 1.2:.0f}", "the model and a fifth more")
