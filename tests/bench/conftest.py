"""The bench takes the loopback registry, the CPU experts' layer and the GPU scripts from their own tests' folders."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS / "leviathan", TESTS / "engine", TESTS / "gpu"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
