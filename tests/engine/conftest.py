"""The engine's tests. Some need only Python; the others need the engine itself and run where it is installed.

On a machine without the engine the latter are not collected. In the image's own check LEVIATHAN_ENGINE=required makes a
missing module an error instead: a check that skips everything would prove nothing.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

NEED_ENGINE = [
    "test_decode_attention.py",
    "test_devices_of_kernels.py",
    "test_fewer_kernels.py",
    "test_flash_attn.py",
    "test_import.py",
    "test_links.py",
    "test_marlin_packing.py",
    "test_moe.py",
    "test_queue.py",
    "test_replacing.py",
    "test_ring_trouble.py",
    "test_server.py",
    "test_streamed_experts.py",
    "test_triton_cache.py",
]
REQUIRED = os.environ.get("LEVIATHAN_ENGINE") == "required"
HAVE_ENGINE = all(importlib.util.find_spec(name) for name in ("torch", "ktransformers", "gguf"))

collect_ignore = [] if REQUIRED or HAVE_ENGINE else NEED_ENGINE


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder whose config.yaml sends every write of KTransformers below it."""
    import engine_process  # noqa: PLC0415  (only where the engine is)

    folder = tmp_path_factory.mktemp("home")
    engine_process.write_config(folder)
    return folder
