"""Requests /health and /metrics from the engine's front: at the NodePort, and through the API server.

While the engine loads, its pod is not Ready, so a Service without publishNotReadyAddresses refuses connections. The API
server's pod proxy can still reach it. Source: Kubernetes API, `connect GET requests to proxy of Pod`.
"""

import json
from collections.abc import Mapping
from typing import Any

from leviathan.cluster.bounds import whole
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.rollout.observe.snapshot import Health
from leviathan.site.schema import Site

TIMEOUT_S = 3.0
#: Maximum bytes to read of an answer. The engine's answers are much smaller.
MOST = 1 << 20
NODE_PORT = "the NodePort"
API = "the API server"


def direct(site: Site, path: str = "/health") -> Health:
    """The answer at the NodePort. Ignores proxies in the environment, because the NodePort is in the local network."""
    if not site.endpoint:
        return Health(None, {}, NODE_PORT, "the Service has no address outside the cluster")
    status, body, error = fetch(f"{site.endpoint}{path}")
    return Health(status, _object(body), NODE_PORT, error)


def through_api(cluster: Cluster, site: Site, pod: str, path: str = "/health") -> Health:
    """The pod's answer, requested through the API server."""
    status, body, error = proxied(cluster, site, pod, path)
    return Health(status, _object(body), API, error)


def fetch(url: str) -> tuple[int | None, bytes, str]:
    """GET `url`: HTTP status (None: no answer), body, and the error if there is no answer.

    Does not verify the certificate, because it sends no secret and the answer is only shown as status.
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
    """Like `fetch`: GET `path` from the pod through the API server. An error of the API server counts as no answer."""
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
    """An error without its leading number, as in `[Errno 111] Connection refused`."""
    return " ".join(text.split("] ", 1)[-1].split())[:200]
