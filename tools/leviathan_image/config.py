"""The image's config: from the small JSON that a Nix user writes to the one that the OCI specification defines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan_image import CREATED, jsonfile
from leviathan_image.errors import ImageError
from leviathan_image.layer import Layer

_KEYS = ("entrypoint", "cmd", "env", "labels", "exposedPorts", "workdir", "volumes", "user", "stopSignal")
_PORT = re.compile(r"[1-9][0-9]{0,4}/(tcp|udp|sctp)")


@dataclass(frozen=True, slots=True)
class Config:
    """How a container of the image starts; every field may be empty. `env` and `labels` are name → value."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    stop_signal: str = ""


def read_config(path: Path) -> Config:
    """The config in `path`: `{"entrypoint": [], "cmd": [], "env": {}, "labels": {}, "exposedPorts": ["8000/tcp"],
    "workdir": "/", "volumes": [], "user": "", "stopSignal": ""}`, each key optional. Raises ImageError that names the
    wrong key.
    """
    document = jsonfile.read_object(path)
    jsonfile.reject_unknown(str(path), document.keys(), _KEYS)

    def many(key: str) -> tuple[str, ...]:
        return jsonfile.strings(f"{path}: {key}", document.get(key, []))

    def pairs(key: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(jsonfile.table(f"{path}: {key}", document.get(key, {})).items()))

    def one(key: str) -> str:
        return jsonfile.string(f"{path}: {key}", document[key]) if key in document else ""

    ports, volumes, workdir = many("exposedPorts"), many("volumes"), one("workdir")
    for port in ports:
        if not _PORT.fullmatch(port):
            raise ImageError(f"{path}: exposedPorts has {port!r}", 'write it as "8000/tcp"')
    for folder in (*volumes, *([workdir] if workdir else [])):
        if not folder.startswith("/"):
            raise ImageError(f"{path}: {folder!r} is not an absolute path", "write it from the image's root")
    for name, _ in pairs("env"):
        if not name or "=" in name:
            raise ImageError(f"{path}: env has the name {name!r}", "a variable's name has no =")
    return Config(
        entrypoint=many("entrypoint"),
        cmd=many("cmd"),
        env=pairs("env"),
        labels=pairs("labels"),
        exposed_ports=ports,
        volumes=volumes,
        workdir=workdir,
        user=one("user"),
        stop_signal=one("stopSignal"),
    )


def image_config(config: Config, layers: Sequence[Layer]) -> dict[str, Any]:
    """The document of media type `application/vnd.oci.image.config.v1+json`
    (github.com/opencontainers/image-spec, config.md): linux/amd64, created at the epoch, one history entry a layer.
    """
    process: dict[str, Any] = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Env": [f"{name}={value}" for name, value in config.env],
        "Labels": dict(config.labels),
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Volumes": {folder: {} for folder in config.volumes},
        "WorkingDir": config.workdir,
        "User": config.user,
        "StopSignal": config.stop_signal,
    }
    return {
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        "config": {key: value for key, value in process.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [_history(layer) for layer in layers],
    }


def _history(layer: Layer) -> dict[str, str]:
    line = {"created": CREATED, "created_by": f"leviathan layer {layer.name}"}
    return {**line, "comment": layer.comment} if layer.comment else line
