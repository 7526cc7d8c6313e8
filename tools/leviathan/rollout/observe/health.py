"""Asks the engine's front end for /health and /metrics: at the NodePort, and through the API server.

While the engine loads, its pod is not Ready, so a Service without publishNotReadyAddresses refuses connections; the API
server's pod proxy reaches it all the same. Source: Kubernetes API, `connect GET requests to proxy of Pod`.
"""

import json
from collections.abc import Mapping
from typing import Any

from leviathan.cluster.bounds import whole
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.rollout.observe.snapshot import Health
from leviathan.site.schema import Site

TIMEOUT_S = 3.0
#: Bytes of an answer that are read: the engine's own are far below.
MOST = 1 << 20
NODE_PORT = "the NodePort"
API = "the API server"


def direct(site: Site, path: str = "/health") -> Health:
    """What the NodePort answers; proxies of the environment are not used, since it is in the local network."""
    if not site.endpoint:
        return Health(None, {}, NODE_PORT, "the Service has no address outside of the cluster")
    status, body, error = fetch(f"{site.endpoint}{path}")
    return Health(status, _object(body), NODE_PORT, error)


def through_api(cluster: Cluster, site: Site, pod: str, path: str = "/health") -> Health:
    """What the pod answers when the API server asks it."""
    status, body, error = proxied(cluster, site, pod, path)
    return Health(status, _object(body), API, error)


def fetch(url: str) -> tuple[int | None, bytes, str]:
    """GET `url`: HTTP status (None: no answer), body, and why there is none.

    No secret is sent and the answer decides nothing but a status line, so its certificate is not verified.
    """
    import httpx  # noqa: PLC0415 - slow to import

    try:
        with (
            httpx.Client(trust_env=False, timeout=TIMEOUT_S, verify=False) as client,
            client.stream("GET", url) as answer,
        ):
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MOST:
                    break
            return answer.status_code, body, ""
    except httpx.TimeoutException:
        return None, b"", f"no answer within {TIMEOUT_S:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return None, b"", _plain(str(error) or type(error).__name__)


def proxied(cluster: Cluster, site: Site, pod: str, path: str) -> tuple[int | None, bytes, str]:
    """GET `path` of the pod through the API server, as `fetch`; an answer of the API server itself is no answer."""
    from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    scheme = "https:" if site.access.tls_secret else ""
    where = f"/api/v1/namespaces/{site.cluster.namespace}/pods/{scheme}{pod}:{site.engine.port}/proxy{path}"
    try:
        answer = cluster.transport.api.call_api(
            where,
            "GET",
            header_params={"Accept": "*/*"},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=(TIMEOUT_S, TIMEOUT_S),
        )
        return int(answer.status), bytes(whole(answer, MOST, TIMEOUT_S * 2).data), ""
    except ApiException as error:
        body = error.body.encode() if isinstance(error.body, str) else error.body or b""
        said = _object(body)
        if said.get("kind") == "Status" or not error.status:
            return None, b"", _plain(str(said.get("message") or error.reason))
        return int(error.status), bytes(body), ""
    except (ClusterError, HTTPError, OSError) as error:
        return None, b"", _plain(str(error))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain(text: str) -> str:
    """An error without the number in front of it: `[Errno 111] Connection refused`."""
    return " ".join(text.split("] ", 1)[-1].split())[:200]
