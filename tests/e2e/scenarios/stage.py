"""Everything that a deployment needs, for real and on loopback: model, disk, registry, control plane, node, site."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.control_plane import objects
from e2e.control_plane.plane import ControlPlane
from e2e.control_plane.settings import find_programs
from e2e.node.support import RealRegistry, real_registry
from e2e.node.tiny_image import busybox_layer, push
from hub_double import HubDouble

from .disk import LoopDisk
from .errors import WayError
from .image import derive
from .mode import AGENT, Mode, Node

ROOT = Path(__file__).resolve().parents[3]
MODEL = "models/deepseek-v3-gguf"
GATE = "sysadmin-logistics"
WRITE = "import sys, pathlib, test_gguf_alone as t; t.write_model(pathlib.Path(sys.argv[1]), split_kv_b=True)"


@dataclass(frozen=True)
class Outcome:
    """What the tool answered: exit status, its result (JSON where it printed some), and its talk."""

    status: int
    out: str
    talk: str

    @property
    def data(self) -> dict[str, Any]:
        """The result. Errors: ValueError when it is not JSON."""
        value: dict[str, Any] = json.loads(self.out)
        return value


@dataclass(frozen=True)
class Running:
    """The tool at work: its process, and the files that take its result and its talk."""

    process: subprocess.Popen[bytes]
    out: Path
    talk: Path


class Stage:
    """A context manager: inside it, everything runs. `folder` holds it all and may be removed afterwards.

    `layout` is the built image's OCI layout, `mode` what runs the node. Errors: WayError, ControlPlaneError,
    RuntimeError from what cannot be had.
    """

    def __init__(self, folder: Path, layout: Path, mode: Mode = AGENT) -> None:
        self.mode = mode
        self.folder = folder.resolve()
        self.built = layout
        self.layout = self.folder / "layout"
        self.plane: ControlPlane
        self.node: Node
        self.registry: RealRegistry
        self.hub: HubDouble
        self.disk: LoopDisk
        self.stack = ExitStack()

    def __enter__(self) -> "Stage":
        with ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            model = self.folder / "model"
            model.mkdir(exist_ok=True)
            write_model(model / "tiny.gguf")
            derive(self.built, self.layout)
            self.disk = stack.enter_context(LoopDisk(self.folder / "disk.img", model, MODEL))
            self.registry = stack.enter_context(real_registry(self.folder / "registry"))
            self.plane = stack.enter_context(ControlPlane(find_programs(os.environ), self.folder / "plane"))
            content = (model / "tiny.gguf").read_bytes()
            self.hub = stack.enter_context(closing(HubDouble({"Q2/tiny.gguf": content, "README.md": b"read me"})))
            port = int(self.hub.address.rpartition(":")[2])
            self.node = stack.enter_context(self.mode.join(self.plane, self.registry, self.folder / "node", port))
            self.write_site()
            self.download_gate()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def write_site(self) -> None:
        """The site file: the runbook's values but for addresses, the disk's name, and what a small machine can do."""
        lines: dict[str, dict[str, Any]] = {
            "registry": {"host": self.registry.host},
            "image": {"layout": str(self.layout)},
            "cluster": {"context": "leviathan-e2e", "address": "127.0.0.1"},
            "engine": {"cpu_threads": 2},
            "nvme": {"partition": str(self.disk.name)},
            "smoke": {"max_tokens": 8, "min_tokens_per_s": 0.05, "max_ttft_s": 240.0, "reach_s": 120},
            "push": {"heartbeat_s": 5},
            **self.mode.site,
        }
        text = "".join(
            f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
            for section, keys in lines.items()
        )
        (self.folder / "site.toml").write_text(text, encoding="utf-8")

    def download_gate(self) -> None:
        """The pod that downloads the model: it says that it has, and stays."""
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.NAMESPACE}}
        self.plane.api.apply(f"/api/v1/namespaces/{objects.NAMESPACE}", space)
        digest = push(self.registry.host, "tools/busybox", "1", [busybox_layer()], {"Env": ["PATH=/bin"]})
        script = "echo 'tiny.gguf 100%'; echo 'DOWNLOAD COMPLETE'; exec sleep 100000"
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": GATE},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "download",
                        "image": f"{self.registry.host}/tools/busybox@{digest}",
                        "command": ["/bin/sh", "-c", script],
                    }
                ],
            },
        }
        self.plane.api.send("POST", f"/api/v1/namespaces/{objects.NAMESPACE}/pods", body)

    def environ(self, kubeconfig: str = "admin") -> dict[str, str]:
        """The tool's environment: the stage's site, and a kubeconfig of its cluster."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT / "tools"),
            "KUBECONFIG": str(self.plane.folder / f"{kubeconfig}.kubeconfig"),
            "LEVIATHAN_SITE": str(self.folder / "site.toml"),
        }

    def begin(self, *words: str) -> Running:
        """Start `leviathan WORDS` and return at once; `end` waits for it."""
        out, talk = self.folder / "tool.out", self.folder / "tool.talk"
        with out.open("wb") as result, talk.open("wb") as said:
            argv = [sys.executable, "-m", "leviathan", *words]
            process = subprocess.Popen(argv, env=self.environ(), cwd=self.folder, stdout=result, stderr=said)
        return Running(process, out, talk)

    def end(self, running: Running, timeout: float = 600.0) -> Outcome:
        """What the tool answered. Errors: subprocess.TimeoutExpired after `timeout` seconds."""
        status = running.process.wait(timeout)
        return Outcome(status, running.out.read_text(encoding="utf-8"), running.talk.read_text(encoding="utf-8"))

    def tool(
        self, *words: str, timeout: float = 3600.0, kubeconfig: str = "admin", home: Path | None = None
    ) -> Outcome:
        """Run `leviathan WORDS` with the stage's site and a kubeconfig of its cluster; at most `timeout` seconds.

        With `home`, in that folder as a user's of their own: with the site.toml and the registry login that it has.
        """
        environ = self.environ(kubeconfig)
        if home is not None:
            environ |= {"HOME": str(home), "LEVIATHAN_SITE": str(home / "site.toml")}
            if words[:1] == ("init",):
                del environ["LEVIATHAN_SITE"]
        with (self.folder / "tool.log").open("a", encoding="utf-8") as log:
            log.write(f"+ leviathan {' '.join(words)}\n")
        done = subprocess.run(
            [sys.executable, "-m", "leviathan", *words],
            env=environ,
            cwd=home or self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        with (self.folder / "tool.log").open("a", encoding="utf-8") as log:
            log.write(done.stderr + done.stdout + f"= {done.returncode}\n")
        return Outcome(done.returncode, done.stdout, done.stderr)

    def must(self, *words: str, timeout: float = 3600.0) -> Outcome:
        """The same; WayError with the tool's last words unless it exits with 0."""
        outcome = self.tool(*words, timeout=timeout)
        if outcome.status != 0:
            raise WayError(f"leviathan {' '.join(words)} exited with {outcome.status}: {outcome.talk[-1500:]}")
        return outcome


def write_model(target: Path) -> None:
    """A tiny DeepSeek-V3 of random weights with its tokenizer in the GGUF header, from the engine's tests.

    Errors: WayError with the last line of what went wrong.
    """
    path = os.pathsep.join([str(ROOT / "tools"), str(ROOT / "tests" / "engine")])
    environ = dict(os.environ) | {"PYTHONPATH": path, "LEVIATHAN_ENGINE": "required"}
    argv = [sys.executable, "-c", WRITE, str(target)]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise WayError(f"the tiny model cannot be written: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
