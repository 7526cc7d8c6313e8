"""A launcher with front and engine, on the CPU: from a GGUF file alone, where only its folder is writable.

The engine's process gets the shims of cpu_shims.py through a `sitecustomize` on its path: there is no GPU here.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent
START_SECONDS = 240
CACHE, LONGEST = 256, 48
RULES = HERE / "cpu-rules.yaml"
CPU = ("--device", "cpu")
SHIMS = """\
import sys
if "leviathan_engine.worker" in sys.orig_argv:
    import cpu_shims
    cpu_shims.apply()
"""


class Running:
    """The launcher's process, its address, its log and its termination log."""

    def __init__(
        self,
        work: Path,
        rules: Path = RULES,
        engine: tuple[str, ...] = CPU,
        flags: Mapping[str, object] = MappingProxyType({}),
        packages: Sequence[str] = sys.path,
    ) -> None:
        """Starts, with a small model unless `flags` name one; `engine` is what stands after `--`.

        Only `work`/s can be written to. `packages` are the folders that it finds its modules in.
        """
        port = import_module("test_server").free_port()
        self.work, self.url, self.log = work, f"http://127.0.0.1:{port}", work / "log"
        self.state, self.last_words = work / "s", work / "s" / "termination-log"
        for folder in ("models", "shims", "s"):
            (work / folder).mkdir()
        if not {"--gguf_path", "--model_path"} & flags.keys():
            import_module("test_gguf_alone").write_model(work / "models" / "tiny.gguf", split_kv_b=True)
        (work / "shims" / "sitecustomize.py").write_text(SHIMS)
        own: dict[str, object] = {
            "--model_path": work / "models",
            "--model_name": "tiny",
            "--host": "127.0.0.1",
            "--port": port,
            "--cpu_offload_max_threads": 2,
            "--cache_lens": CACHE,
            "--max_new_tokens": LONGEST,
            "--optimize_config_path": rules,
        }
        words = [word for pair in (own | dict(flags)).items() for word in map(str, pair)]
        path = os.pathsep.join([str(work / "shims"), str(HERE), *packages])
        env = dict(os.environ) | {"PYTHONPATH": path, "LEVIATHAN_STATE": str(self.state)}
        # As engine_process.environment has it: several threads of torch's wait for one another on CPUs that others use.
        env |= {"LEVIATHAN_TERMINATION_LOG": str(self.last_words), "OMP_NUM_THREADS": "1"}
        with self.log.open("wb") as sink:
            argv = [sys.executable, str(HERE / "read_only.py"), str(self.state)]
            argv += [sys.executable, "-m", "leviathan_engine", *words, "--", *engine]
            self.process = subprocess.Popen(argv, env=env, cwd=work, stdout=sink, stderr=subprocess.STDOUT)
        self.phases: list[dict[str, Any]] = []

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def wait(self, phase: str = "ready") -> None:
        """Until /health says this phase; what it says on the way is kept."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            try:
                answer = httpx.get(self.url + "/health", timeout=30)
                self.phases.append(answer.json() | {"code": answer.status_code})
                if self.phases[-1]["phase"] == phase:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)

    def worker(self) -> int:
        """The id of the engine's process: the launcher's child that runs the worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
        (found,) = [pid for pid, words in lines.items() if b"leviathan_engine.worker" in words]
        return found

    def end(self) -> None:
        """Ends what still runs, children included, as a pod's end does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
