"""How long each derivation took to build, from what Nix keeps of it: its log and its outputs' registration.

Nix opens a derivation's log when it starts the builder, and registers the outputs when they are hashed and in place. So
the build lasted from the log file's birth to the registration. A later `--check` writes the same log again and moves
neither. An interrupted build counts from its first try.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import nix

LOGS = Path(os.environ.get("NIX_LOG_DIR", "/nix/var/log/nix"))
NO_LOG = "Nix has no log of its build here"
NO_BIRTH = "the file system of Nix's logs keeps no birth times"
OLD_LOG = "Nix's log is of an earlier build than its inputs"
NOT_THERE = "not built here"


def log(drv: str, logs: Path = LOGS) -> Path | None:
    """The log of a derivation, compressed or not; None without one."""
    name = Path(drv).name
    path = logs / "drvs" / name[:2] / name[2:]
    return next((each for each in (path.with_name(f"{path.name}.bz2"), path) if each.is_file()), None)


def birth(path: Path) -> float:
    """When a file was made, in seconds since 1970; 0 where the file system does not say."""
    done = subprocess.run(["stat", "-c", "%.3W", str(path)], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else 0.0


def registrations(paths: Sequence[str]) -> dict[str, float]:
    """Store path → when it was registered; those that are not in the store are left out."""
    told = json.loads(nix.nix("path-info", "--json", *paths)) if paths else []
    # A list with the paths in it, or since Nix 2.19 an object by path, null for what is not there.
    each = told if isinstance(told, list) else [{"path": path, **(info or {})} for path, info in told.items()]
    return {info["path"]: float(info["registrationTime"]) for info in each if info.get("registrationTime")}


def span(drv: str, done: float | None, inputs: Sequence[float], logs: Path = LOGS) -> float | str:
    """Seconds that a build took, or why that is not known.

    Args:
        drv: the derivation.
        done: when its output was registered; None when it is not there.
        inputs: when the outputs that it needs were registered.
        logs: Nix's folder of logs.
    """
    if done is None:
        return NOT_THERE
    file = log(drv, logs)
    if file is None:
        return NO_LOG
    began = birth(file)
    if not began:
        return NO_BIRTH
    # Registrations are whole seconds, cut off.
    return OLD_LOG if began + 1 < max(inputs, default=0.0) else max(0.0, done - began)


def spans(drvs: Sequence[str]) -> Mapping[str, float | str]:
    """Derivation → seconds that its build took, or why that is not known."""
    outputs = {drv: nix.nix("-q", "--outputs", drv, program="nix-store").split() for drv in drvs}
    needs = {drv: nix.nix("-q", "--references", drv, program="nix-store").split() for drv in drvs}
    when = registrations([path for paths in outputs.values() for path in paths])
    done = {drv: max((when[path] for path in paths if path in when), default=None) for drv, paths in outputs.items()}
    found = {}
    for drv in drvs:
        inputs = [moment for need in needs[drv] if (moment := done.get(need)) is not None]
        found[drv] = span(drv, done[drv], inputs)
    return found
