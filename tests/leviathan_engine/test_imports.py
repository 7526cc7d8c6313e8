"""The launcher and the deploy tool import these modules where there is neither numpy nor torch nor a tokenizer."""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "tools" / "leviathan_engine"
# Modules that turn weights into numbers need numpy, and the step of the launcher that calls them.
NUMPY = {"leviathan_engine.gguf.quants", "leviathan_engine.launcher.prepare", "leviathan_engine.model.kv_b"}
ROOMS = ("gguf", "launcher", "machine", "model", "plan")
ALONE = ("errors.py", "wire.py")
CODE = """
import importlib, sys
for name in ("numpy", "torch", "transformers", "tokenizers", "yaml", "gguf", "click"):
    sys.modules[name] = None
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        failed.append(name)
print(" ".join(failed))
"""


def test_only_the_weights_modules_need_numpy() -> None:
    paths = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] in (*ROOMS, *ALONE)]
    names = sorted(".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in paths)
    names = [n.removesuffix(".__init__") for n in names if not n.endswith("__main__")]
    assert len(names) > 25
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(done.stdout.split()) == NUMPY
