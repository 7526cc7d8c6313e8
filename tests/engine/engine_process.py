"""Runs the installed engine in processes of their own, each with every write below one folder."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml


def site(module: str) -> Path:
    """The site-packages folder that holds an installed module, found without importing it."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{module} is not installed"
    assert spec.origin is not None
    origin = Path(spec.origin)
    return origin.parent.parent if origin.name == "__init__.py" else origin.parent


def runnable_marches() -> list[str]:
    """The -march entries that the engine was built for and that this CPU can run, best first."""
    builds = json.loads((site("cpuinfer_ext") / "ktransformers_ext" / "cpu" / "march.json").read_text(encoding="utf-8"))
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    have = next(line.split(":")[1].split() for line in cpuinfo.splitlines() if line.startswith("flags"))
    return [name for name, needed in builds.items() if set(needed) <= set(have)]


def write_config(home: Path) -> None:
    """~/.ktransformers/config.yaml as upstream's, with absolute paths: so the installed package may be read-only."""
    upstream = site("ktransformers") / "ktransformers" / "configs" / "config.yaml"
    config = yaml.safe_load(upstream.read_text(encoding="utf-8"))
    config["log"]["dir"] = str(home / "logs")
    config["db"]["host"] = str(home)
    config["model"]["use_cuda_graph"] = False
    (home / ".ktransformers").mkdir(parents=True)
    (home / ".ktransformers" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def environment(home: Path) -> dict[str, str]:
    """The environment of a process that may write below `home` only."""
    return dict(os.environ) | {
        "HOME": str(home),
        "HF_HOME": str(home / "huggingface"),
        "TRITON_CACHE_DIR": str(home / "triton"),
        "TMPDIR": str(home),
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",  # on CPUs that others use, too, torch's threads wait for one another: 20 times the CPU
    }


def of_models(script: str, work: Path) -> dict[str, Any]:
    """What `script` says in its last line, JSON, of a folder with a tiny model; its arguments are this and `work`.

    Every write is below `work`.
    """
    (work / "models").mkdir()
    import_module("test_gguf_alone").write_model(work / "models" / "tiny.gguf", split_kv_b=False, steady=True)
    argv = [sys.executable, str(Path(script).resolve()), str(work / "models"), str(work)]
    env = environment(work) | {"PYTHONPATH": os.pathsep.join([str(Path(script).resolve().parent), *sys.path])}
    done = subprocess.run(argv, env=env, cwd=work, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))
