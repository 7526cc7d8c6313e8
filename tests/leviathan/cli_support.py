"""The tool as a process."""

import os
import subprocess
import sys
from pathlib import Path

from push_support import TOOLS


def leviathan(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "HOME": str(home), **environ}
    return subprocess.run(
        [sys.executable, "-m", "leviathan", *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
