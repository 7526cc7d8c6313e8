"""A folder with the test kernels, and nvcc and cuobjdump to use on them."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

KERNELS = Path(__file__).resolve().parent / "kernels"
THREE = (
    "-gencode=arch=compute_90a,code=sm_90a",
    "-gencode=arch=compute_100,code=sm_100",
    "-gencode=arch=compute_120,code=sm_120",
)


@dataclass(frozen=True)
class Done:
    """A finished command: its status and what it wrote."""

    code: int
    out: str
    error: str


@dataclass(frozen=True)
class Bench:
    """A folder with the kernels in it, and the two tools."""

    root: Path
    nvcc: Path
    cuobjdump: str

    def run(self, *words: str, cwd: Path | None = None, **environment: str) -> Done:
        """Runs nvcc, whatever its outcome."""
        done = subprocess.run(
            [str(self.nvcc), *words],
            cwd=cwd or self.root,
            env=dict(os.environ) | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def compile(self, *words: str, cwd: Path | None = None, **environment: str) -> Done:
        """Runs nvcc, which must succeed."""
        done = self.run(*words, cwd=cwd, **environment)
        assert done.code == 0, done.error
        return done

    def dump(self, file: str, *words: str) -> str:
        """cuobjdump's output."""
        argv = [self.cuobjdump, *words, str(self.root / file)]
        return subprocess.run(argv, cwd=self.root, capture_output=True, text=True, check=True, timeout=600).stdout

    def images(self, file: str) -> list[str]:
        """The images of a file as cuobjdump names them: ``sm_90a.cubin``, ``sm_120.ptx``."""
        return sorted(re.findall(r"file +\d+: .*?\.(sm_\w+\.\w+)$", self.dump(file, "-lelf", "-lptx"), re.MULTILINE))
