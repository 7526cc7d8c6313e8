"""Sends spans from a separate thread. A slow or unreachable collector loses spans, but never delays an answer."""

import http.client
import json
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from .collector import Collector
from .spans import Span, request_body

# Maximum number of requests whose spans wait, of spans per message, and seconds for which spans are collected.
HELD, BATCH, EVERY = 2000, 512, 2.0
SECONDS, ATTEMPTS, CLOSE_SECONDS = 10.0, 3, 2.0
# Statuses after which the protocol requires a retry.
AGAIN = (429, 502, 503, 504)
# Seconds between two log lines about a collector that fails.
NOTE_SECONDS = 60.0


class Exporter:
    """Exports the spans of requests; never blocks and never raises."""

    def __init__(self, collector: Collector, note: Callable[[str], None], every: float = EVERY) -> None:
        """`note` is called with a line about spans that were not sent; `every`: seconds between two messages."""
        self._collector, self._note, self._every = collector, note, every
        self._waiting: queue.Queue[list[Span] | None] = queue.Queue(HELD)
        self._lost = 0
        self._noted = -NOTE_SECONDS
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def add(self, spans: list[Span]) -> None:
        """Adds the spans of one request."""
        try:
            self._waiting.put_nowait(spans)
        except queue.Full:
            self._lost += len(spans)

    def close(self) -> None:
        """Sends the waiting spans, for at most CLOSE_SECONDS."""
        self._closing.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._collect()
            if batch:
                why = self._send(batch)
                self._lost += len(batch) if why else 0
                if self._lost and time.monotonic() >= self._noted + NOTE_SECONDS:
                    reason = why or "they arrive faster than they can be sent"
                    self._note(f"traces: {self._lost} spans were not sent to {self._collector.url}: {reason}")
                    self._noted, self._lost = time.monotonic(), 0

    def _collect(self) -> tuple[list[Span], bool]:
        """Waits for spans and collects those of the next seconds; also returns whether `close` was called."""
        first = self._waiting.get()
        batch, until = list(first or ()), time.monotonic() + self._every
        ended = first is None
        while not ended and len(batch) < BATCH:
            try:
                more = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            ended = more is None
            batch += more or ()
        return batch, ended

    def _send(self, batch: list[Span]) -> str:
        """Sends spans; returns why they could not be sent, "" on success."""
        body = json.dumps(request_body(batch, self._collector.service), separators=(",", ":")).encode("ascii")
        headers = {"content-type": "application/json", **dict(self._collector.headers)}
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._closing.wait(2**attempt * random.uniform(0.5, 1.0))
            request = urllib.request.Request(self._collector.url, body, headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                    answer.read(1 << 16)
                return ""
            except urllib.error.HTTPError as err:
                why = f"it answers with status {err.code}"
                err.close()
                if err.code not in AGAIN:
                    break
            except (OSError, http.client.HTTPException, ValueError) as err:
                why = str(getattr(err, "reason", err)) or type(err).__name__
        return ascii(why)[1:-1][:200]
