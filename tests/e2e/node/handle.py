"""Starts the agent as a process of its own and talks to it: what a test or the whole e2e run holds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from e2e.control_plane import objects
from e2e.control_plane.plane import ControlPlane

ROOT = Path(__file__).parents[2]


def join(plane: ControlPlane, root: Path, *options: str) -> "NodeProcess":
    """A node of `plane`, with a kubelet's and a kube-proxy's own credentials, as the Node authorizer wants it.

    `options`: more words for `python -m e2e.node`. Errors: RuntimeError when it does not begin.
    """
    user = f"system:node:{objects.NODE}"
    pair = plane.authority.issue("kubelet", user, ["system:nodes"], ["IP:127.0.0.1"])
    proxy = plane.kubeconfig("proxy", plane.authority.issue("proxy", "system:kube-proxy"))
    own = ("--certificate", str(pair.certificate), "--key", str(pair.key), "--proxy-kubeconfig", str(proxy))
    trusted = ("--client-ca", str(plane.authority.pair.certificate))
    return NodeProcess(plane.kubeconfig("kubelet", pair), root, *own, *trusted, *options)


class NodeProcess:
    """A running node; `with NodeProcess(...) as node`."""

    def __init__(self, kubeconfig: Path, root: Path, *options: str, log: Path | None = None) -> None:
        """`options` go to `python -m e2e.node`; `log` takes its stderr. Errors: RuntimeError when it does not begin."""
        self.log = log or root / "node.log"
        root.mkdir(parents=True, exist_ok=True)
        words = ["--kubeconfig", str(kubeconfig), "--root", str(root), *options]
        with self.log.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "e2e.node", *words],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        first = self._line()
        if not first.startswith("{"):
            self.process.wait(30)
            raise RuntimeError(f"the node does not begin: {self.log.read_text()[-2000:]}")
        self.port = int(json.loads(first)["ready"])

    @property
    def ancestor(self) -> int:
        """The agent's process id: the processes of its pods descend from it."""
        return self.process.pid

    def not_ready(self) -> None:
        """The node says NotReady; its pods keep running."""
        self._tell("not-ready")

    def silent(self) -> None:
        """The node says nothing any more; the node controller notices after its grace period."""
        self._tell("silent")

    def ready(self) -> None:
        """The node says Ready."""
        self._tell("ready")

    def kill(self) -> None:
        """SIGKILL: everything it ran dies with it."""
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _err: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        answer = self._line()
        if answer != word:
            raise RuntimeError(f"the node answered {answer!r} to {word!r}; its log: {self.log}")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()
