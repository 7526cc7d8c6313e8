"""The bench takes the loopback registry from the tool's tests."""

import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[1] / "leviathan")
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)
