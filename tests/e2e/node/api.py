"""The Kubernetes API as the agent needs it: plain dicts over HTTP, and a list that stays up to date."""

import base64
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
WATCH_S = 240


class ApiError(Exception):
    """What the API server answered, or that it did not (`status` 0). `reason` is Kubernetes' machine-readable one."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Api:
    """One API server. Safe for use by several threads."""

    def __init__(self, server: str, context: ssl.SSLContext | bool, token: str = "") -> None:
        """`context`: TLS with our certificate, or False to trust anybody."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        self._http = httpx.Client(
            base_url=server, verify=context, headers=headers, timeout=15, limits=limits, trust_env=False
        )

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str = "") -> "Api":
        """The server and user of a context, by default the current one. Errors: ApiError for a file that lacks them."""
        document = yaml.safe_load(path.read_text())
        try:
            named = {kind: {e["name"]: e[kind] for e in document.get(f"{kind}s", [])} for kind in ("cluster", "user")}
            chosen = {e["name"]: e["context"] for e in document["contexts"]}[context or document["current-context"]]
            cluster, user = named["cluster"][chosen["cluster"]], named["user"][chosen["user"]]
            server = cluster["server"]
        except KeyError as err:
            raise ApiError(0, "Kubeconfig", f"{path} lacks {err}") from err
        return cls(server, _tls(cluster, user, path.parent), user.get("token", ""))

    def request(self, method: str, path: str, body: Json | None = None, kind: str = "", **query: str) -> Json:
        """One request. Errors: ApiError."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind or "application/json"} if content else {}
        try:
            answer = self._http.request(method, path, content=content, headers=headers, params=query)
        except httpx.HTTPError as err:
            raise ApiError(0, "Unreachable", f"{method} {path}: {err}") from err
        if answer.status_code >= 400:
            raise _refusal(answer.status_code, answer.text)
        return dict(answer.json())

    def get(self, path: str, **query: str) -> Json | None:
        """An object or list, None when there is none. Errors: ApiError."""
        try:
            return self.request("GET", path, None, "", **query)
        except ApiError as err:
            if err.status == 404:
                return None
            raise

    def create(self, path: str, body: Json) -> Json:
        """POST. Errors: ApiError."""
        return self.request("POST", path, body)

    def patch(self, path: str, body: Json) -> Json:
        """A JSON merge patch. Errors: ApiError."""
        return self.request("PATCH", path, body, MERGE)

    def delete(self, path: str, body: Json | None = None) -> None:
        """DELETE; an object that is gone already is not an error. Errors: ApiError."""
        try:
            self.request("DELETE", path, body)
        except ApiError as err:
            if err.status != 404:
                raise

    def watch(self, path: str, version: str, **query: str) -> Iterator[tuple[str, Json]]:
        """(ADDED | MODIFIED | DELETED | BOOKMARK, object) until the server ends it. Errors: ApiError."""
        query |= {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_S), "allowWatchBookmarks": "1"}
        try:
            with self._http.stream("GET", path, params=query, timeout=httpx.Timeout(10, read=WATCH_S + 15)) as answer:
                if answer.status_code >= 400:
                    raise _refusal(answer.status_code, answer.read().decode(errors="replace"))
                for line in answer.iter_lines():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"].get("code", 0), json.dumps(event["object"]))
                    yield event["type"], event["object"]
        except httpx.HTTPError as err:
            raise ApiError(0, "Unreachable", f"watch {path}: {err}") from err


class Mirror(threading.Thread):
    """A list of objects that follows the API server: list, then watch, again and again until stopped."""

    def __init__(self, api: Api, path: str, changed: Callable[[Json, bool], None], talk: Callable[[str], None]) -> None:
        """`changed` gets each new or changed object with True, each deleted one with False; `path` may have a query."""
        super().__init__(daemon=True, name=f"mirror {path}")
        self._api, self._changed, self._talk = api, changed, talk
        self._path, _, query = path.partition("?")
        self._query = dict(part.split("=", 1) for part in query.split("&") if part)
        self._known: dict[str, Json] = {}
        self._ended = threading.Event()
        self.listed = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._ended.is_set():
            try:
                version = self._list()
                self._watch(version)
            except ApiError as err:
                self._talk(f"watching {self._path}: {err}; trying again")
                self._ended.wait(1)

    def stop(self) -> None:
        """No more changes are reported; the thread itself may linger in a read."""
        self._ended.set()

    def _list(self) -> str:
        answer = self._api.request("GET", self._path, None, "", **self._query)
        found = {item["metadata"]["uid"]: item for item in answer["items"]}
        for uid in set(self._known) - set(found):
            self._report(self._known.pop(uid), alive=False)
        for uid, item in found.items():
            if self._known.get(uid, {}).get("metadata", {}).get("resourceVersion") != _version(item):
                self._known[uid] = item
                self._report(item, alive=True)
        self.listed.set()
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            for kind, item in self._api.watch(self._path, version, **self._query):
                if self._ended.is_set():
                    return
                version = _version(item)
                if kind == "BOOKMARK":
                    continue
                uid = item["metadata"]["uid"]
                if kind == "DELETED":
                    self._known.pop(uid, None)
                else:
                    self._known[uid] = item
                self._report(item, alive=kind != "DELETED")
            if time.monotonic() - began < 1:
                self._ended.wait(0.5)

    def _report(self, item: Json, *, alive: bool) -> None:
        if not self._ended.is_set():
            self._changed(item, alive)


def _version(item: Json) -> str:
    return str(item["metadata"]["resourceVersion"])


def _refusal(status: int, text: str) -> ApiError:
    try:
        document = json.loads(text)
        return ApiError(status, str(document.get("reason", "")), str(document.get("message", text)))
    except ValueError:
        return ApiError(status, "", text.strip() or f"HTTP {status}")


def _tls(cluster: Json, user: Json, folder: Path) -> ssl.SSLContext | bool:
    """TLS by a kubeconfig's cluster and user; the certificates are files next to it, or base64 inside it."""
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl._create_unverified_context()
    elif data := cluster.get("certificate-authority-data"):
        context = ssl.create_default_context(cadata=base64.b64decode(data).decode())
    elif name := cluster.get("certificate-authority"):
        context = ssl.create_default_context(cafile=str(folder / name))
    else:
        context = ssl.create_default_context()
    if data := user.get("client-certificate-data"):
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(data) + b"\n" + base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
    elif name := user.get("client-certificate"):
        context.load_cert_chain(folder / name, folder / user["client-key"])
    return context
