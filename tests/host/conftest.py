"""What a build does on a host where something is wrong. These tests call Nix itself, so they run outside its sandbox:

nix develop -c pytest tests/host        (after make image; as root)
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    why = "needs Nix" if shutil.which("nix") is None else "needs root" if os.geteuid() != 0 else ""
    for item in here:
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this repository, with what is not committed yet."""
    target = tmp_path / "leviathan"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    changed = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT, capture_output=True, check=True).stdout
    if changed:
        subprocess.run(["git", "apply"], cwd=target, input=changed, check=True)
    return target
