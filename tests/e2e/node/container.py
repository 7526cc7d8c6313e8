"""What a container is started with: plain data that goes to its first process as JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Docker's and containerd's default for a container that is not privileged, as capability numbers: chown, dac_override,
# fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
DEFAULT_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
ALL_CAPABILITIES = (1 << 41) - 1


@dataclass(frozen=True)
class Bind:
    """A folder or file of the host at a place in the container. Both paths are absolute."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Plan:
    """All that is needed to start. `layers` are folders, lowest first; `work` is a folder of this container alone, on
    a file system that can hold an overlay's upper layer; `capabilities` is a bit mask; `groups` the files to join.
    """

    hostname: str
    layers: tuple[str, ...]
    work: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    uid: int
    gid: int
    supplementary: tuple[int, ...] = ()
    binds: tuple[Bind, ...] = ()
    cgroup_binds: tuple[Bind, ...] = ()
    groups: tuple[str, ...] = ()
    privileged: bool = False
    read_only: bool = False
    no_new_privileges: bool = False
    capabilities: int = field(default=sum(1 << n for n in DEFAULT_CAPABILITIES))

    def write(self, path: Path) -> None:
        """As JSON, readable by root alone: the environment may hold secrets."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """What `write` wrote."""
        document = json.loads(path.read_text())
        for key in ("binds", "cgroup_binds"):
            document[key] = tuple(Bind(**bind) for bind in document[key])
        for key in ("layers", "argv", "supplementary", "groups"):
            document[key] = tuple(document[key])
        return cls(**document)
