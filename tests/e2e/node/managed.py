"""One container of a pod from pull to end, as pkg/kubelet/kuberuntime brings it on; driven by the pod's worker."""

import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from . import cgroup
from .api import ApiError
from .images import Image
from .logs import last
from .netns import Network
from .planning import make_plan
from .probes import KINDS, Probe, Results
from .process import Process, StartError
from .quantity import limit
from .reference import parse
from .registry import PullError
from .sources import Sources
from .spec import ConfigError
from .status import ContainerState, Run
from .surroundings import Surroundings
from .timing import Backoff

Json = dict[str, Any]
MESSAGE_BYTES, MESSAGE_LOG_BYTES, MESSAGE_LINES = 4096, 2048, 80
START_FAILED = 128
RUNC = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: "
)


def go_duration(seconds: float) -> str:
    """As Go prints a time.Duration: 10s, 1m20s, 5m0s, 350ms."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{round(rest, 3):g}s"


class Managed:
    """A container, its state, and what is running for it."""

    def __init__(self, node: Surroundings, pod: Json, container: Json, *, init: bool, wake: Callable[[], None]) -> None:
        """`wake`: called when the worker should look again."""
        self._node, self._pod, self._wake = node, pod, wake
        self.state = ContainerState(container, init, [])
        self._process: Process | None = None
        self._group = cgroup.Group({})
        self._probes: list[Probe] = []
        self._pull: Future[Image] | None = None
        self._pull_began = self._look_again = 0.0
        self._pull_error = ""
        self._crash = Backoff(node.timing.crash_base, node.timing.crash_cap, node.timing.crash_reset)
        self._image_wait = Backoff(node.timing.image_base, node.timing.image_cap, node.timing.crash_reset)
        self._counted = -1
        self._doomed = threading.Event()

    @property
    def name(self) -> str:
        """The container's name."""
        return self.state.name

    @property
    def running(self) -> bool:
        """Whether its process lives, or its end has not been taken note of."""
        return self._process is not None

    def restarts(self) -> bool:
        """Whether it is started again after its present end."""
        run, policy = self.state.last, self._pod["spec"].get("restartPolicy", "Always")
        if run is None or not run.finished:
            return True
        if self.state.init:
            return run.code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and run.code != 0)

    def log_file(self, number: int) -> Path:
        """A run's log."""
        meta = self._pod["metadata"]
        return (
            self._node.root / "logs" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / self.name / f"{number}.log"
        )

    def advance(self, network: Network, sources: Sources, volumes: dict[str, Path]) -> None:
        """One step on: take note of an end, wait, pull, or start."""
        if self._process is not None:
            if self._process.ending is not None:
                self.finish()
                self._wake()
            return
        run, now = self.state.last, time.time()
        if run is not None and not self.restarts():
            return
        if self.state.waiting == "RunContainerError" and now < self._look_again:
            return
        if run is not None and run.number != self._counted:
            if self._crash.blocked("", run.finished, now):
                self._back_off(now)
                return
            self._crash.next("", now)
            self._counted = run.number
        elif now < self._look_again and self._pull is None:
            return
        image = self._image(sources)
        if image is not None:
            self._start(image, network, sources, volumes)

    def _back_off(self, now: float) -> None:
        meta = self._pod["metadata"]
        where = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
        wait = go_duration(self._crash.wait(""))
        self.state.waiting = "CrashLoopBackOff"
        self.state.waiting_message = f"back-off {wait} restarting failed container={self.name} pod={where}"
        if now >= self._look_again:
            self._look_again = now + self._node.timing.sync
            self._event("Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {where}")

    def _wait(self, reason: str, message: str) -> None:
        self.state.waiting, self.state.waiting_message = reason, message
        self._look_again = time.time() + self._node.timing.sync

    def _image(self, sources: Sources) -> Image | None:
        name, policy = self.state.spec["image"], self.state.spec.get("imagePullPolicy", "IfNotPresent")
        try:
            reference = parse(name)
        except ValueError as err:
            text = f'Failed to apply default image tag "{name}": {err}'
            self._event("Warning", "InspectFailed", text)
            self._event("Warning", "Failed", "Error: InvalidImageName")
            self._wait("InvalidImageName", text)
            return None
        if self._pull is None and policy != "Always":
            found = self._node.images.find(reference)
            if found is not None:
                self._event("Normal", "Pulled", f'Container image "{name}" already present on machine')
                return found
            if policy == "Never":
                text = f'Container image "{name}" is not present with pull policy of Never'
                self._event("Warning", "ErrImageNeverPull", text)
                self._event("Warning", "Failed", "Error: ErrImageNeverPull")
                self._wait("ErrImageNeverPull", text)
                return None
        now = time.time()
        if self._pull is None:
            if self._image_wait.blocked("", self._image_wait.touched(""), now):
                text = f'Back-off pulling image "{name}"'
                self._event("Normal", "BackOff", text)
                self._event("Warning", "Failed", "Error: ImagePullBackOff")
                self._wait("ImagePullBackOff", f"{text}: ErrImagePull: {self._pull_error}")
                return None
            self._event("Normal", "Pulling", f'Pulling image "{name}"')
            self._pull_began = now
            self._pull = self._node.pulls.submit(self._node.images.pull, reference, sources.logins())
            self._pull.add_done_callback(lambda _done: self._wake())
        return self._pulled(name) if self._pull.done() else None

    def _pulled(self, name: str) -> Image | None:
        assert self._pull is not None
        pull, self._pull = self._pull, None
        try:
            image = pull.result()
        except (PullError, OSError) as err:
            self._pull_error = str(err)
            self._image_wait.next("", time.time())
            self._event("Warning", "Failed", f'Failed to pull image "{name}": {err}')
            self._event("Warning", "Failed", "Error: ErrImagePull")
            self._wait("ErrImagePull", str(err))
            return None
        self._image_wait.forget("")
        took = go_duration(round(time.time() - self._pull_began, 3))
        size = f"Image size: {image.size} bytes."
        self._event(
            "Normal", "Pulled", f'Successfully pulled image "{name}" in {took} ({took} including waiting). {size}'
        )
        return image

    def _start(self, image: Image, network: Network, sources: Sources, volumes: dict[str, Path]) -> None:
        number = self.state.last.number + 1 if self.state.last else 0
        identity = secrets.token_hex(32)
        try:
            work = self._node.root / "containers" / identity
            work.mkdir(parents=True)
            memory, cpus = limit(self.state.spec, "memory"), limit(self.state.spec, "cpu")
            self._group = cgroup.create(
                identity,
                None if memory is None else int(memory),
                None if cpus is None else float(cpus),
                self._node.talk,
            )
            layers = self._node.images.folders(image)
            plan = make_plan(self._pod, self.state.spec, work, image, layers, sources, volumes, self._group)
        except (ConfigError, ApiError) as err:
            self._event("Warning", "Failed", f"Error: {err}")
            self._wait("CreateContainerConfigError", str(err))
            self._clean(identity)
            return
        run = Run(identity, number, f"{parse(self.state.spec['image']).by_digest}@{image.digest}", time.time())
        self._event("Normal", "Created", f"Created container: {self.name}")
        self.state.runs = [*self.state.runs[-1:], run]
        self._doomed = threading.Event()
        try:
            self._process = Process(plan, self.log_file(number), network.descriptor(), self._wake)
        except StartError as err:
            run.finished, run.code, run.reason = time.time(), START_FAILED, "StartError"
            run.message = f"{RUNC}{err}: unknown"
            self._event("Warning", "Failed", f"Error: {run.message}")
            self._wait("RunContainerError", run.message)
            self._clean(run.id)
            return
        run.started = self._process.started
        self._event("Normal", "Started", f"Started container {self.name}")
        self.state.waiting = self.state.waiting_message = ""
        self.state.started = "startupProbe" not in self.state.spec
        self.state.ready = self.state.started and "readinessProbe" not in self.state.spec
        self._watch(run, network)

    def _watch(self, run: Run, network: Network) -> None:
        def mine() -> bool:
            return self.state.last is run and run.running

        def passed(kind: str) -> None:
            if mine() and kind == "startup":
                self.state.started = True
                self.state.ready = "readinessProbe" not in self.state.spec
            elif mine() and kind == "readiness" and not self.state.ready:
                self.state.ready = True
            else:
                return
            self._wake()

        def failed(kind: str) -> None:
            if not mine():
                return
            if kind == "readiness":
                if self.state.ready:
                    self.state.ready = False
                    self._wake()
            elif not self._doomed.is_set():
                again = ", will be restarted" if self._pod["spec"].get("restartPolicy", "Always") != "Never" else ""
                seconds = self.state.spec[KINDS[kind]].get("terminationGracePeriodSeconds")
                grace = self._grace() if seconds is None else float(seconds)
                self.kill(f"Container {self.name} failed {kind} probe{again}", grace)

        results = Results(
            lambda: self.state.started, passed, failed, lambda text: self._event("Warning", "Unhealthy", text)
        )
        self._probes = [
            Probe(k, self.state.spec, network, results) for k, key in KINDS.items() if key in self.state.spec
        ]
        for probe in self._probes:
            probe.start()

    def _grace(self) -> float:
        return float(self._pod["spec"].get("terminationGracePeriodSeconds", 30))

    def stop_starting(self) -> None:
        """The pod is being deleted: liveness and startup are no longer asked."""
        for probe in self._probes:
            probe.stop()

    def kill(self, why: str, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds; returns at once."""
        process = self._process
        if process is None or self._doomed.is_set():
            return
        self._doomed.set()
        self._event("Normal", "Killing", why)
        process.signal(signal.SIGTERM)

        def later() -> None:
            deadline = time.monotonic() + max(grace, self._node.timing.least_grace)
            while process.ending is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.signal(signal.SIGKILL)

        threading.Thread(target=later, daemon=True, name=f"kill {self.name}").start()

    def kill_now(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def finish(self) -> bool:
        """Take note of the end, if it has ended."""
        run = self.state.last
        if self._process is None or self._process.ending is None or run is None:
            return False
        ending = self._process.ending
        for probe in self._probes:
            probe.stop()
        killed = self._group.oom_kills() > 0
        run.finished, run.code = ending.finished, ending.code
        run.reason = "OOMKilled" if killed else "Error" if ending.code else "Completed"
        run.message = self._message(run)
        self.state.started = self.state.ready = False
        self._look_again = 0
        self._process = None
        self._clean(run.id)
        if run.number >= 2:
            self.log_file(run.number - 2).unlink(missing_ok=True)
        return True

    def _message(self, run: Run) -> str:
        path = self._node.root / "containers" / run.id / "termination-log"
        with path.open("rb") as source:
            source.seek(max(path.stat().st_size - MESSAGE_BYTES, 0))
            text = source.read().decode(errors="replace")
        if text or not run.code or self.state.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return text
        return last(self.log_file(run.number), MESSAGE_LINES, MESSAGE_LOG_BYTES)

    def _clean(self, identity: str) -> None:
        self._group.remove()
        self._group = cgroup.Group({})
        shutil.rmtree(self._node.root / "containers" / identity, ignore_errors=True)

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._node.recorder.pod(self._pod, kind, reason, message, self.name, init=self.state.init)
