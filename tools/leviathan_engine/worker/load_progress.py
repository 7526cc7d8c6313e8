"""Counts what the loader takes, and reports to the front once a second what is loaded and what is read ahead."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from leviathan_engine.worker.read_ahead import Reading

SECONDS = 1.0
REMARK_SECONDS = 60.0
COUNT_SECONDS = 0.2

Send = Callable[[dict[str, Any]], None]
Progress = Callable[[int, int], None]


class LoadProgress:
    """A context manager that sends `progress` messages at fixed intervals, because one layer may take minutes."""

    def __init__(self, send: Send, reading: Callable[[], Reading], seconds: float = SECONDS) -> None:
        """Arguments: `send` sends a message to the front; `reading` returns the progress of the read-ahead."""
        self._send, self._reading, self._seconds = send, reading, seconds
        self._layers = self._loaded = 0
        self._over = threading.Event()
        self._remarked = float("-inf")
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> "LoadProgress":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def loaded(self, layers: int, size: int) -> None:
        """Sets the number of layers and bytes that are loaded."""
        self._layers, self._loaded = layers, size
        self._tell()

    def _tell(self) -> None:
        reading = self._reading()
        ahead = {"read": reading.done, "read_total": reading.total}
        self._send({"kind": "progress", "layers": self._layers, "bytes": self._loaded, **ahead})

    def _report(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._tell()
                if remark := self._reading().remark():
                    self._send({"kind": "phase", "phase": "loading", "detail": remark})
                    self._note(remark)
            except OSError:
                return  # the front has ended: the worker's main thread notices when it sends

    def _note(self, remark: str) -> None:
        if time.monotonic() - self._remarked >= REMARK_SECONDS:
            self._remarked = time.monotonic()
            sys.stderr.write(f"leviathan: {remark}\n")
            sys.stderr.flush()


def count_tensors(loader: Any, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
    """Makes upstream's GGUF loader report its progress: it takes every tensor with `get_mmap_tensor`.

    A layer counts as loaded when the loader takes a tensor of a later one.
    """
    take = loader.get_mmap_tensor
    seen: set[str] = set()
    state = {"bytes": 0, "layers": 0, "at": 0.0}

    def counted(self: Any, name: str) -> Any:
        data = take(self, name)
        if name not in seen:
            seen.add(name)
            state["bytes"] += data.nbytes
            state["layers"] = max(state["layers"], layer_of(name))
            if clock() - state["at"] >= COUNT_SECONDS:
                state["at"] = clock()
                progress(int(state["layers"]), int(state["bytes"]))
        return data

    loader.get_mmap_tensor = counted


def layer_of(name: str) -> int:
    """Returns the layer of a tensor: 3 for `blk.3.attn_norm.weight`, 0 for a tensor outside the layers."""
    parts: Sequence[str] = name.split(".")
    return int(parts[1]) if parts[0] == "blk" and len(parts) > 1 and parts[1].isdecimal() else 0
