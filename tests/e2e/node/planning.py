"""From a container of a pod to the plan that its process is started with: mounts, limits, user, files of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import spec
from .cgroup import Group
from .container import Bind, Plan
from .images import Image
from .sources import Sources

Json = dict[str, Any]


def make_plan(
    pod: Json,
    container: Json,
    work: Path,
    image: Image,
    layers: Sequence[Path],
    sources: Sources,
    volumes: Mapping[str, Path],
    group: Group,
) -> Plan:
    """The plan; the files that a kubelet writes for each container are made in `work`.

    Errors: ConfigError and ApiError for what the pod wants and cannot have.
    """
    config = image.config.get("config") or {}
    hostname = (pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]
    user = spec.user(pod, container, config, layers)
    shared = sources.variables(container)
    variables = spec.environment(container, config, hostname, lambda s: sources.variable(s, container), shared)
    context = container.get("securityContext") or {}
    return Plan(
        hostname=hostname,
        layers=tuple(str(layer) for layer in layers),
        work=str(work),
        argv=spec.command(container, config, variables),
        environment=variables,
        folder=container.get("workingDir") or config.get("WorkingDir") or "/",
        uid=user.uid,
        gid=user.gid,
        supplementary=user.supplementary,
        binds=(*_own_files(container, work, hostname, sources), *_mounts(container, volumes)),
        cgroup_binds=tuple(Bind(source, target) for source, target in group.mounts()),
        groups=tuple(group.join_files()),
        privileged=bool(context.get("privileged")),
        read_only=bool(context.get("readOnlyRootFilesystem")),
        no_new_privileges=user.no_new_privileges,
        capabilities=user.capabilities,
    )


def _own_files(container: Json, work: Path, hostname: str, sources: Sources) -> list[Bind]:
    address = sources.field("status.podIP")
    (work / "hosts").write_text(f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{address}\t{hostname}\n")
    (work / "hostname").write_text(f"{hostname}\n")
    (work / "resolv.conf").write_text("# no name server: Services are reached through their NodePorts\n")
    message = work / "termination-log"
    message.touch()
    message.chmod(0o666)
    binds = [Bind(str(work / name), f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf")]
    return [*binds, Bind(str(message), container.get("terminationMessagePath") or "/dev/termination-log")]


def _mounts(container: Json, volumes: Mapping[str, Path]) -> list[Bind]:
    binds = []
    for mount in container.get("volumeMounts") or []:
        source = volumes[mount["name"]] / mount.get("subPath", "")
        if mount.get("subPath") and not source.exists():
            source.mkdir(parents=True)
        binds.append(Bind(str(source), mount["mountPath"], bool(mount.get("readOnly"))))
    return binds
