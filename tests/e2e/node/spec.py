"""From a pod's container and an image's config to what is executed: command, environment, user, capabilities.

Source: pkg/kubelet/container/helpers.go (expansion), pkg/kubelet/kuberuntime/security_context.go of Kubernetes 1.34,
and containerd's rules for an image's Entrypoint, Cmd, Env and User.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .container import ALL_CAPABILITIES, DEFAULT_CAPABILITIES

Json = dict[str, Any]
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
CAPABILITIES = (  # by their numbers, from 0
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)


class ConfigError(Exception):
    """A container that cannot be made as its pod wants it: the message of CreateContainerConfigError."""


@dataclass(frozen=True)
class User:
    """Whom the container runs as, and with what."""

    uid: int
    gid: int
    supplementary: tuple[int, ...]
    capabilities: int
    no_new_privileges: bool


def expand(text: str, known: Mapping[str, str]) -> str:
    """$(NAME) becomes the variable's value, $$ a dollar; an unknown $(NAME) stays."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[1] is None else known.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def command(container: Json, config: Json, environment: Mapping[str, str]) -> tuple[str, ...]:
    """`command` replaces Entrypoint and Cmd, `args` replaces Cmd. Errors: ConfigError when nothing is left."""
    own = [expand(word, environment) for word in container.get("command") or []]
    arguments = [expand(word, environment) for word in container.get("args") or []]
    if own:
        words = own + arguments
    else:
        words = list(config.get("Entrypoint") or []) + (arguments or list(config.get("Cmd") or []))
    if not words:
        raise ConfigError("no command specified")
    return tuple(words)


def environment(
    container: Json,
    config: Json,
    hostname: str,
    value_from: Callable[[Json], str | None],
    shared: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The image's variables, then those of `envFrom` (`shared`), then the pod's own.

    `value_from` resolves a `valueFrom`; None leaves the variable out. Errors: ConfigError from `value_from`.
    """
    out = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": hostname}
    for pair in config.get("Env") or []:
        name, _, value = pair.partition("=")
        out[name] = value
    own = dict(shared or {})
    for variable in container.get("env") or []:
        source = variable.get("valueFrom")
        found = value_from(source) if source else expand(variable.get("value", ""), own)
        if found is not None:
            own[variable["name"]] = found
    return out | own


def user(pod: Json, container: Json, config: Json, layers: Sequence[Path]) -> User:
    """By the security contexts and the image's user. Errors: ConfigError."""
    shared, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    both = shared | own
    image_user, _, image_group = str(config.get("User") or "").partition(":")
    uid, gid = _lookup(image_user, "passwd", layers), _lookup(image_group, "group", layers)
    if image_user and not image_group:
        gid = _primary_group(uid, layers)
    chosen = int(both.get("runAsUser", uid))
    if "runAsUser" in both:
        gid = _primary_group(chosen, layers)
    if both.get("runAsNonRoot") and chosen == 0:
        place = f'(pod: "{pod["metadata"]["name"]}_{pod["metadata"]["namespace"]}({pod["metadata"]["uid"]})"'
        how = "container's runAsUser breaks non-root policy" if "runAsUser" in both else "image will run as root"
        text = f"container has runAsNonRoot and {how}" if "runAsUser" not in both else how
        raise ConfigError(f"{text} {place}, container: {container['name']})")
    groups = tuple(shared.get("supplementalGroups", ())) + ((shared["fsGroup"],) if "fsGroup" in shared else ())
    privileged = bool(own.get("privileged"))
    mask = ALL_CAPABILITIES if privileged else _mask(own.get("capabilities") or {})
    confined = own.get("allowPrivilegeEscalation") is False and not privileged
    return User(chosen, int(both.get("runAsGroup", gid)), groups, mask, confined)


def _mask(wanted: Json) -> int:
    mask = sum(1 << n for n in DEFAULT_CAPABILITIES)
    numbers = {name: 1 << n for n, name in enumerate(CAPABILITIES)} | {"ALL": ALL_CAPABILITIES}
    for name in wanted.get("drop", []):
        mask &= ~numbers[name.removeprefix("CAP_")]
    for name in wanted.get("add", []):
        mask |= numbers[name.removeprefix("CAP_")]
    return mask


def _table(name: str, layers: Sequence[Path]) -> list[list[str]]:
    for layer in reversed(layers):
        path = layer / "etc" / name
        if path.is_file() and not path.is_symlink():
            return [
                line.split(":") for line in path.read_text().splitlines() if line.count(":") >= 3 or name == "group"
            ]
    return []


def _lookup(name: str, table: str, layers: Sequence[Path]) -> int:
    if not name or name.isdigit():
        return int(name or 0)
    for row in _table(table, layers):
        if row[0] == name:
            return int(row[2])
    raise ConfigError(
        f"unable to find {'user' if table == 'passwd' else 'group'} {name}: no matching entries in {table} file"
    )


def _primary_group(uid: int, layers: Sequence[Path]) -> int:
    return next((int(row[3]) for row in _table("passwd", layers) if row[2] == str(uid)), 0)
