"""The folder for everything that the engine writes, and the termination message for Kubernetes."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import EngineError

# The volume of our manifests, then a folder that systemd and containers have; TMPDIR is the last resort.
PLACES = (Path("/var/lib/leviathan"), Path("/run/leviathan"))
TERMINATION_LOG = Path("/dev/termination-log")
# The kubelet truncates longer messages.
TERMINATION_BYTES = 4096


@dataclass(frozen=True)
class State:
    """The state folder and the paths in it."""

    root: Path

    @property
    def socket(self) -> Path:
        """The Unix socket of the front, to which the worker connects."""
        return self.run / "front.sock"

    @property
    def run(self) -> Path:
        """The folder of the socket."""
        return self.root / "run"

    @property
    def hf(self) -> Path:
        """The Hugging Face folder that is generated from the GGUF header."""
        return self.root / "hf"

    @property
    def gguf(self) -> Path:
        """The folder of GGUF files that is passed to the worker."""
        return self.root / "gguf"

    @property
    def rules(self) -> Path:
        """KTransformers' rule file."""
        return self.root / "rules.yaml"

    @property
    def home(self) -> Path:
        """The worker's HOME."""
        return self.root / "home"

    @property
    def threads(self) -> Path:
        """The file with the fastest number of threads that an earlier start measured."""
        return self.root / "threads.json"

    @property
    def reason(self) -> Path:
        """The file in which the worker writes why it failed."""
        return self.root / "reason"

    def environment(self) -> dict[str, str]:
        """Returns variables that make libraries write below the folder."""
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
    """Creates the state folder, readable only by its owner: LEVIATHAN_STATE, or the first default that is writable.

    Errors: EngineError if none is writable.
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
            raise EngineError(
                f"{place}: the path of the Unix socket below it is longer than 107 bytes",
                "set LEVIATHAN_STATE to a shorter path",
            )
        return State(place)
    raise EngineError(
        f"no writable folder for the engine's state ({', '.join(problems)})",
        "mount a volume at one of these paths, or set LEVIATHAN_STATE to a writable folder",
    )


def last_words(reason: str, environ: Mapping[str, str]) -> None:
    """Writes `reason` to the termination log, if there is one, so that the pod's status shows it."""
    given = environ.get("LEVIATHAN_TERMINATION_LOG", "")
    path = Path(given) if given else TERMINATION_LOG
    if not given and not path.exists():
        return
    try:
        path.write_bytes(reason.encode("utf-8", "replace")[:TERMINATION_BYTES])
    except OSError:
        return  # the same line is on stderr
