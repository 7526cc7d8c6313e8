"""Records what a real Kubernetes API server answers, in the form that `replay_api.py` serves.

cluster, recording = recorded(connect(site, os.environ))
... use the cluster ...
recording.save("apply/created")        # → answers/apply/created.json
"""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normal_form import normalised
from urllib3 import HTTPResponse

from leviathan.cluster.bounds import MOST, whole
from leviathan.cluster.client import Cluster

ANSWERS = Path(__file__).with_name("answers")
#: Headers that the tool reads; the others differ from run to run.
KEPT = ("Warning", "Retry-After")


class Recording:
    """Stands before the official client's ApiClient and notes each exchange; `exchanges` has them so far."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.configuration = api.configuration
        self.exchanges: list[dict[str, Any]] = []
        self.start = datetime.now(UTC)

    def call_api(self, path: str, method: str, **given: Any) -> Any:
        """The client's call_api, noted. A stream is noted as far as it is read."""
        from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]  # noqa: PLC0415

        noted: dict[str, Any] = {"method": method, "path": path, "query": dict(given["query_params"])}
        if given.get("body") is not None:
            noted["sent"] = json.loads(json.dumps(given["body"]))
        try:
            answer = self.api.call_api(path, method, **given)
        except ApiException as error:
            if error.status:
                noted["answer"] = {"status": error.status, **_headers(error.headers), **_content(error.body)}
                self.exchanges.append(noted)
            raise
        noted["answer"] = {"status": answer.status, **_headers(answer.headers)}
        self.exchanges.append(noted)
        if "watch" in noted["query"] or path.endswith("/log"):
            return _Streamed(answer, noted["answer"], events="watch" in noted["query"])
        data = whole(answer, MOST).data
        noted["answer"].update(_content(data))
        return HTTPResponse(io.BytesIO(data), answer.headers, answer.status, preload_content=False)  # to be read again

    def clear(self) -> None:
        """Forget what was noted so far."""
        self.exchanges.clear()

    def save(self, name: str) -> Path:
        """Write the exchanges in normal form to `answers/NAME.json`, forget them, and return the path."""
        path = ANSWERS / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        exchanges = normalised(self.exchanges, self.start)
        lines = [json.dumps(exchange, ensure_ascii=False, separators=(",", ":")) for exchange in exchanges]
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
        self.clear()
        return path


class _Streamed:
    """An answer whose lines are noted as they are read."""

    def __init__(self, answer: Any, noted: dict[str, Any], *, events: bool) -> None:
        self.answer = answer
        self.headers = answer.headers
        self.noted = noted
        self.read = json.loads if events else _text
        noted["lines"] = []

    def stream(self, *given: Any, **named: Any) -> Iterator[bytes]:
        rest = b""
        for piece in self.answer.stream(*given, **named):
            *whole, rest = (rest + piece).split(b"\n")
            self.noted["lines"] += [self.read(line) for line in whole]
            yield piece

    def close(self) -> None:
        self.answer.close()


def recorded(cluster: Cluster) -> tuple[Cluster, Recording]:
    """The same cluster with every exchange noted."""
    recording = Recording(cluster.transport.api)
    cluster.transport.api = recording
    return cluster, recording


def _headers(headers: Any) -> dict[str, Any]:
    found = {name: headers.getlist(name) for name in KEPT if headers is not None and name in headers}
    return {"headers": found} if found else {}


def _content(body: bytes | str | None) -> dict[str, Any]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        return {"body": json.loads(text)}
    except ValueError:
        return {"text": text}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
