"""Push of the built image to docker-registry on loopback, in turns with skopeo: into an empty registry, then again."""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from push_support import REPOSITORY, TAG, real_registry, start_cli

from . import building, nix
from .errors import BenchError, Missing
from .table import Line, Row

PROGRAMS = ("docker-registry", "skopeo")
Push = Callable[[str, Path, Path], None]


def with_leviathan(host: str, layout: Path, home: Path) -> None:
    """`leviathan push`, its state below `home`."""
    process = start_cli(home, "push", "--registry", host, "--layout", str(layout))
    _, err = process.communicate(timeout=600)
    if process.returncode:
        raise BenchError(f"leviathan push ended with {process.returncode}:\n{err}")


def with_skopeo(host: str, layout: Path, home: Path) -> None:
    """`skopeo copy` with the digests kept, as ours keeps them."""
    policy = home / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    argv = ["skopeo", "--policy", str(policy), "copy", "-q", "--preserve-digests", "--dest-tls-verify=false"]
    argv += [f"oci:{layout}", f"docker://{host}/{REPOSITORY}:{TAG}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise BenchError(f"skopeo ended with {done.returncode}:\n{done.stderr}")


def timed(push: Push, host: str, layout: Path, home: Path) -> float:
    """Seconds of one push; what was written before it is on the disk first."""
    os.sync()
    began = time.monotonic()
    push(host, layout, home)
    return time.monotonic() - began


def rounds(layout: Path, changed: Path, count: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each push, of both, in turns; who begins changes from round to round.

    Args:
        layout: the image: a first push into an empty registry, then "again", unchanged.
        changed: the same image with another launcher, pushed into the same registry: " changed".
        count: of rounds.
        folder: for the registries.
    """
    pushers: dict[str, Push] = {"leviathan": with_leviathan, "skopeo": with_skopeo}
    kinds = {"": layout, " again": layout, " changed": changed}
    found: dict[str, list[float]] = {f"{name}{kind}": [] for name in pushers for kind in kinds}
    for turn in range(count):
        for name in list(pushers)[:: 1 if turn % 2 == 0 else -1]:
            place = folder / f"{name}{turn}"
            place.mkdir()
            with real_registry(place) as registry:
                for kind, image in kinds.items():
                    found[f"{name}{kind}"].append(timed(pushers[name], registry.host, image, place))
            shutil.rmtree(place)
    return found


def rows(found: Mapping[str, Sequence[float]]) -> list[Line]:
    """The rows of these rounds: medians."""
    ours, theirs = (
        {kind: statistics.median(found[f"{name}{kind}"]) for kind in ("", " again", " changed")}
        for name in ("leviathan", "skopeo")
    )
    detail = "; ".join(f"{name}: {', '.join(f'{each:.2f}' for each in times)}" for name, times in found.items())
    changed = "push again, launcher changed (next to a 3 GB torch layer)"
    return [
        Row("push", ours[""], "s", theirs[""], "skopeo", most_ratio=1, detail=detail),
        Row("push again, unchanged", ours[" again"], "s", theirs[" again"], "skopeo", most=1),
        Row(changed, ours[" changed"], "s", theirs[" changed"], "skopeo", most=2),
    ]


def measure(count: int = 3) -> list[Line]:
    """The rows of this part."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking:
        raise Missing(f"no {' and no '.join(lacking)}: run apt-get install {' '.join(lacking)}")
    layout, (_, changed) = nix.image(), building.launcher_changed()
    new = nix.layers(changed).keys() - nix.layers(layout).keys()
    if len(new) != 1:
        raise BenchError(f"a change of the launcher makes {len(new)} new layers, not one")
    with tempfile.TemporaryDirectory(prefix="bench-push-") as folder:
        return rows(rounds(layout, changed, count, Path(folder)))
