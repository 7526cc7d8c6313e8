"""The bench takes the loopback registry from the tool's tests, and the CPU experts' layer from the engine's."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS / "leviathan", TESTS / "engine"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
