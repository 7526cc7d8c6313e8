"""The objects that lead to the engine, or keep others away from it: Ingress, HTTPRoute, NetworkPolicy.

Sources: Kubernetes, "Ingress" and "Network Policies"; Gateway API, HTTPRoute v1.
"""

from collections.abc import Iterator
from typing import Any

from leviathan.manifests.files import Object
from leviathan.manifests.fit import INSTANCE
from leviathan.manifests.policy import MANAGED
from leviathan.site.schema import Site


def networking(site: Site) -> Iterator[Object]:
    """The objects that the site's keys ask for."""
    access = site.access
    if access.ingress_host:
        yield _ingress(site)
    if access.gateway:
        yield _route(site)
    if access.network_policy:
        yield _network_policy(site)


def object_of(site: Site, api: str, kind: str, name: str, **more: Any) -> Object:
    """An object of the site with our labels; `more` are its other parts."""
    labels = {"app": site.workload.app, MANAGED[0]: MANAGED[1]}
    labels |= {INSTANCE: site.release} if site.release else {}
    meta = {"name": name, "namespace": site.cluster.namespace, "labels": labels}
    annotations = more.pop("annotations", None)
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def _ingress(site: Site) -> Object:
    access = site.access
    service = {"name": site.workload.service, "port": {"name": "http"}}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": service}}
    spec: dict[str, Any] = {"rules": [{"host": access.ingress_host, "http": {"paths": [path]}}]}
    if access.ingress_class:
        spec["ingressClassName"] = access.ingress_class
    if access.ingress_tls_secret:
        spec["tls"] = [{"hosts": [access.ingress_host], "secretName": access.ingress_tls_secret}]
    annotations = dict(text.split("=", 1) for text in access.ingress_annotations)
    return object_of(site, "networking.k8s.io/v1", "Ingress", site.workload.service, annotations=annotations, spec=spec)


def _route(site: Site) -> Object:
    namespace, _, name = site.access.gateway.partition("/")
    spec: dict[str, Any] = {
        "parentRefs": [{"name": name, "namespace": namespace}],
        "rules": [{"backendRefs": [{"name": site.workload.service, "port": site.engine.port}]}],
    }
    if site.access.gateway_host:
        spec["hostnames"] = [site.access.gateway_host]
    return object_of(site, "gateway.networking.k8s.io/v1", "HTTPRoute", site.workload.service, spec=spec)


def _network_policy(site: Site) -> Object:
    """Admits `access.allow_from` at the engine's port; the engine opens no connection of its own, so nothing leaves."""
    peers = [_peer(text) for text in site.access.allow_from]
    rule = {"from": peers, "ports": [{"port": "http", "protocol": "TCP"}]}
    spec = {
        "podSelector": {"matchLabels": {"app": site.workload.app}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [rule] if peers else [],
        "egress": [],
    }
    return object_of(site, "networking.k8s.io/v1", "NetworkPolicy", site.workload.deployment, spec=spec)


def _peer(text: str) -> dict[str, Any]:
    kind, _, value = text.partition(":")
    if kind == "cidr":
        return {"ipBlock": {"cidr": value}}
    if kind == "namespace":
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": value}}}
    key, _, label = value.partition("=")
    return {"podSelector": {"matchLabels": {key: label}}}
