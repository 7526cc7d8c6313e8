"""The one folder below which everything is written, and the last words for Kubernetes."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import EngineError

# The manifests' volume; then what systemd and containers have; TMPDIR is the last resort.
PLACES = (Path("/var/lib/leviathan"), Path("/run/leviathan"))
TERMINATION_LOG = Path("/dev/termination-log")
# Longer messages are cut by the kubelet.
TERMINATION_BYTES = 4096


@dataclass(frozen=True)
class State:
    """The folder and what is where in it."""

    root: Path

    @property
    def socket(self) -> Path:
        """Where the engine finds the front."""
        return self.run / "front.sock"

    @property
    def run(self) -> Path:
        """The folder of the socket."""
        return self.root / "run"

    @property
    def hf(self) -> Path:
        """The Hugging Face folder made from the GGUF header."""
        return self.root / "hf"

    @property
    def gguf(self) -> Path:
        """The folder of GGUF files that the engine is given."""
        return self.root / "gguf"

    @property
    def rules(self) -> Path:
        """The rule file."""
        return self.root / "rules.yaml"

    @property
    def home(self) -> Path:
        """The engine's HOME."""
        return self.root / "home"

    @property
    def threads(self) -> Path:
        """The number of threads that an earlier start has measured to be the quickest."""
        return self.root / "threads.json"

    @property
    def reason(self) -> Path:
        """Why the engine failed."""
        return self.root / "reason"

    def environment(self) -> dict[str, str]:
        """Variables that send the engine's writes below the folder."""
        return {
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "huggingface"),
            "TRITON_CACHE_DIR": str(self.home / "triton"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.home / "inductor"),
            "TMPDIR": str(self.root / "tmp"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }


def state(environ: Mapping[str, str]) -> State:
    """The folder of LEVIATHAN_STATE, else the first writable of the usual places; made, and open to its owner alone.

    Errors: EngineError when none can be written.
    """
    given = environ.get("LEVIATHAN_STATE", "")
    places = [Path(given)] if given else [*PLACES, Path(environ.get("TMPDIR") or tempfile.gettempdir()) / "leviathan"]
    problems = []
    for place in places:
        try:
            for folder in (place, place / "home", place / "tmp", place / "run"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (place / "reason").unlink(missing_ok=True)
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as err:
            problems.append(f"{place}: {err.strerror}")
            continue
        if len(os.fsencode(State(place).socket)) > 107:  # sockaddr_un
            raise EngineError(f"{place}: too long for a Unix socket", "set LEVIATHAN_STATE to a shorter path")
        return State(place)
    raise EngineError(
        f"no writable folder ({', '.join(problems)})",
        "mount a volume there, or set LEVIATHAN_STATE to a writable folder",
    )


def last_words(reason: str, environ: Mapping[str, str]) -> None:
    """Writes `reason` to the termination log, where there is one, for the pod's status."""
    given = environ.get("LEVIATHAN_TERMINATION_LOG", "")
    path = Path(given) if given else TERMINATION_LOG
    if not given and not path.exists():
        return
    try:
        path.write_bytes(reason.encode("utf-8", "replace")[:TERMINATION_BYTES])
    except OSError:
        return  # the same line is on stderr
