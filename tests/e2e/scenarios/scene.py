"""What is kept of a run in which something has failed: the cluster's objects and the last words of every part."""

import json
import os
from pathlib import Path

from e2e.control_plane import objects

from .stage import Stage

SPACE = f"namespaces/{objects.NAMESPACE}"
OBJECTS = {
    "endpointslices": f"/apis/discovery.k8s.io/v1/{SPACE}/endpointslices",
    "events": "/api/v1/events",
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "services": f"/api/v1/{SPACE}/services",
}
TAIL = 200_000  # bytes of a log


def save(stage: Stage, folder: Path) -> list[str]:
    """Write objects, pods' logs and the tails of the parts' logs into `folder`; the files' names.

    What the API does not give is kept as what it says instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in OBJECTS.items():
        (folder / f"{name}.json").write_bytes(stage.plane.api.call("GET", path).body)
    for name in pods(folder / "pods.json"):
        for previous in ("false", "true"):
            path = f"/api/v1/{SPACE}/pods/{name}/log?tailLines=500&timestamps=true&previous={previous}"
            answer = stage.plane.api.call("GET", path)
            if answer.status == 200:
                (folder / f"pod-{name}{'-previous' if previous == 'true' else ''}.log").write_bytes(answer.body)
    for log in sorted((*stage.folder.glob("*.log"), *stage.folder.glob("*/*.log"))):
        (folder / log.name).write_bytes(tail(log))
    return sorted(one.name for one in folder.iterdir())


def pods(file: Path) -> list[str]:
    """The names of the engine's namespace's pods, as the file has them; none when it holds no list."""
    try:
        items = json.loads(file.read_bytes())["items"]
    except (ValueError, KeyError):
        return []
    return [one["metadata"]["name"] for one in items if one["metadata"]["namespace"] == objects.NAMESPACE]


def tail(log: Path, most: int = TAIL) -> bytes:
    """The last bytes of a file, at most `most`."""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - most))
        return stream.read()
