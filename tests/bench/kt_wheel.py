"""The kt-kernel wheel of kt-kernel.txt."""

import tempfile
import zipfile
from pathlib import Path

from .errors import Missing
from .wheels import FOLDER, Run, Wheels, digest, fetched, with_pip

WHEELS = Wheels(Path(__file__).resolve().with_name("kt-kernel.txt"), ("manylinux_2_35_x86_64",))
PARTS = ("kt_kernel/", "kt_kernel.libs/")


def pinned(wheels: Wheels = WHEELS) -> str:
    """Name and version, as in `kt-kernel==0.7.2`."""
    return str(wheels.pins()[0])


def unpack(wheel: Path, folder: Path) -> None:
    """The wheel's kernels and what they load, below `folder`: whole, or not there at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        part = Path(work) / "wheel"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(part, [name for name in archive.namelist() if name.startswith(PARTS)])
        part.rename(folder)


def unpacked(given: Path | None, cache: Path = FOLDER, wheels: Wheels = WHEELS, run: Run = with_pip) -> Path:
    """The folder with the kernels.

    Args:
        given: the wheel, or a folder into which it is unpacked; None for pip's.
        cache: where pip leaves the wheel, and where it is unpacked.
        wheels: the version and the sha256 that a wheel must have.
        run: what brings it.

    Raises:
        Missing: there is no wheel, or it is another one.
    """
    if given is not None and given.is_dir():
        if not (given / "kt_kernel" / "_cpu_detect.py").is_file():
            raise Missing(f"{given} has no kt_kernel/_cpu_detect.py: name the wheel or the folder it is unpacked into")
        return given
    if given is not None and not given.is_file():
        raise Missing(f"there is no {given}: name kt-kernel's wheel, or leave --kt-kernel out and pip brings it")
    wheel = given or fetched(wheels, cache, run)[0]
    found, (pin,) = digest(wheel), wheels.pins()
    if found != pin.sha256:
        raise Missing(f"{wheel} has sha256 {found}, not that of {pin}; get it with: {wheels.command(cache)}")
    folder = cache / found
    if not folder.is_dir():
        unpack(wheel, folder)
    return folder
