"""A pod's volumes on the node: made before its containers start, gone with the pod. Mounts lie below its folder.

Known: emptyDir (also in memory, with its size), hostPath, configMap, secret, downwardAPI, projected, and a claim whose
volume is `local` or `hostPath`. Source of the wording: pkg/volume of Kubernetes 1.34 as kubelet's FailedMount shows it.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import kernel
from .api import Api, ApiError
from .quantity import amount
from .sources import Sources
from .spec import ConfigError

Json = dict[str, Any]
Files = dict[str, bytes]
OPTIONS = {
    "ro": kernel.MS_RDONLY,
    "noatime": kernel.MS_NOATIME,
    "nosuid": kernel.MS_NOSUID,
    "nodev": kernel.MS_NODEV,
    "noexec": kernel.MS_NOEXEC,
    "relatime": kernel.MS_RELATIME,
    "rw": 0,
}
CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


class VolumeError(Exception):
    """The message of a FailedMount event."""


class Volumes:
    """The volumes of one pod, by name."""

    def __init__(self, api: Api, pod: Json, folder: Path, sources: Sources) -> None:
        """`folder`: of this pod alone."""
        self._api, self._pod, self._folder, self._sources = api, pod, folder, sources
        self._mounted: list[Path] = []
        self.paths: dict[str, Path] = {}

    def provide(self) -> None:
        """Makes what is not there yet. Errors: VolumeError for the first that cannot be made."""
        for volume in self._pod["spec"].get("volumes") or []:
            name = volume["name"]
            if name in self.paths:
                continue
            kind = next(key for key in volume if key != "name")
            shown = [name]
            try:
                self.paths[name] = self._make(name, kind, volume[kind] or {}, shown)
            except VolumeError:
                raise
            except (OSError, ApiError, ConfigError) as err:
                text = f"{err.filename}: {err.strerror}" if isinstance(err, OSError) else str(err)
                raise VolumeError(f'MountVolume.SetUp failed for volume "{shown[-1]}" : {text}') from err

    def remove(self) -> None:
        """Unmount everything, last first. The folder stays."""
        for path in reversed(self._mounted):
            kernel.umount(path, kernel.MNT_DETACH)
        self._mounted.clear()
        self.paths.clear()

    def _make(self, name: str, kind: str, given: Json, shown: list[str]) -> Path:
        if kind == "hostPath":
            return _host_path(Path(given["path"]), given.get("type", ""))
        if kind == "persistentVolumeClaim":
            return self._claimed(given, shown)
        path = self._folder / name
        path.mkdir(parents=True, exist_ok=True)
        if kind == "emptyDir":
            if given.get("medium") == "Memory":
                size = f",size={int(amount(given['sizeLimit']))}" if given.get("sizeLimit") else ""
                self._mount("tmpfs", path, "tmpfs", 0, f"mode=1777{size}")
            path.chmod(0o777)
            return path
        self._mount("tmpfs", path, "tmpfs", 0, "mode=755")
        for inner, data in self._files(kind, given).items():
            target = path / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(given.get("defaultMode", 0o644))
        return path

    def _mount(self, source: str, path: Path, kind: str, flags: int, data: str = "") -> None:
        kernel.mount(source, path, kind, flags, data)
        self._mounted.append(path)

    def _files(self, kind: str, given: Json) -> Files:
        if kind == "projected":
            out: Files = {}
            for source in given.get("sources") or []:
                inner = next(iter(source))
                out |= self._files(inner, source[inner])
            return out
        if kind == "serviceAccountToken":
            return {given["path"]: self._sources.token(given)}
        if kind == "downwardAPI":
            return {
                item["path"]: self._sources.field(item["fieldRef"]["fieldPath"]).encode() for item in given["items"]
            }
        if kind not in ("configMap", "secret"):
            raise ConfigError(f"this node's agent knows no {kind} volumes")
        name = given.get("secretName") or given["name"]
        found = self._sources.read(kind, name)
        if found is None and not given.get("optional"):
            raise ConfigError(f'{kind.lower()} "{name}" not found')
        found = found or {}
        items = given.get("items")
        return {item["path"]: found[item["key"]] for item in items} if items else found

    def _claimed(self, given: Json, shown: list[str]) -> Path:
        namespace, name = self._pod["metadata"]["namespace"], given["claimName"]
        claim = self._api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
        if claim is None:
            raise ConfigError(f'error processing PVC {namespace}/{name}: persistentvolumeclaim "{name}" not found')
        volume_name = claim["spec"].get("volumeName", "")
        if claim.get("status", {}).get("phase") != "Bound":
            raise ConfigError(f"error processing PVC {namespace}/{name}: PVC is not bound")
        shown.append(volume_name)
        volume = self._api.get(f"/api/v1/persistentvolumes/{volume_name}")
        if volume is None:
            raise ConfigError(f'persistentvolume "{volume_name}" not found')
        spec = volume["spec"]
        if "hostPath" in spec:
            return _host_path(Path(spec["hostPath"]["path"]), spec["hostPath"].get("type", ""))
        if "local" not in spec:
            raise ConfigError("this node's agent knows only local and hostPath volumes behind a claim")
        return self._local(spec, volume_name)

    def _local(self, spec: Json, name: str) -> Path:
        source = Path(spec["local"]["path"])
        if not source.exists():
            text = f'path "{source}" does not exist'
            raise VolumeError(f'MountVolume.NewMounter initialization failed for volume "{name}" : {text}')
        if not source.is_block_device():
            return source
        kind, flags, data = spec["local"].get("fsType", "ext4"), 0, []
        for option in spec.get("mountOptions") or []:
            if option in OPTIONS:
                flags |= OPTIONS[option]
            else:
                data.append(option)
        point = self._folder / f"local-{name}"
        point.mkdir(parents=True, exist_ok=True)
        try:
            self._mount(str(source), point, kind, flags, ",".join(data))
        except OSError as err:
            what = f"local: failed to mount device {source} at {point} (fstype: {kind})"
            text = f"{what}, error mount failed: {err.strerror}"
            raise VolumeError(f'MountVolume.MountDevice failed for volume "{name}" : {text}') from err
        return point


def _host_path(path: Path, kind: str) -> Path:
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(0o644)
    check = CHECKS.get(kind.removesuffix("OrCreate"))
    if check and not (path.exists() and check[0](os.stat(path).st_mode)):  # noqa: PTH116 - follows links
        raise ConfigError(f"hostPath type check failed: {path} is not {check[1]}")
    if not path.exists():
        path.mkdir(parents=True, mode=0o755)  # as the container runtime does
    return path
