"""Sections of the site file: access to the engine, monitoring, and your own objects."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site.choices import ApiKey
from leviathan.site.keys import Key, each_like, like
from leviathan.site.patterns import DNS, LABEL, NAME


@dataclass(frozen=True)
class AccessSettings:
    """Who may use the endpoint, and over which route."""

    api_key: Annotated[ApiKey, Key("off: no API key is required; secret: clients need the key stored in a Secret")]
    api_key_secret: Annotated[
        str, Key("name of that Secret; empty: DEPLOYMENT-api-key", **like(f"({NAME})?", "deepseek-api-key"))
    ]
    tls_secret: Annotated[
        str, Key("Secret of type kubernetes.io/tls; the engine then serves HTTPS", **like(f"({NAME})?", "engine-tls"))
    ]
    ingress_host: Annotated[
        str, Key("host name of an Ingress; empty: none", **like(f"({DNS})?", "leviathan.example.org"))
    ]
    ingress_class: Annotated[str, Key("IngressClass; empty: the cluster's default", **like(f"({DNS})?", "nginx"))]
    ingress_tls_secret: Annotated[
        str,
        Key("Secret with the Ingress's certificate; cert-manager can create it", **like(f"({NAME})?", "leviathan-tls")),
    ]
    ingress_annotations: Annotated[
        tuple[str, ...],
        Key("annotations of the Ingress", **each_like(r"[^=\s]+=.*", '["cert-manager.io/cluster-issuer=letsencrypt"]')),
    ]
    gateway: Annotated[
        str,
        Key(
            "NAMESPACE/NAME of a Gateway to attach an HTTPRoute to; empty: none",
            **like(f"({NAME}/{DNS})?", "gateways/public"),
        ),
    ]
    gateway_host: Annotated[
        str, Key("host name of the HTTPRoute; empty: any", **like(f"({DNS})?", "leviathan.example"))
    ]
    network_policy: Annotated[
        bool, Key("whether a NetworkPolicy admits only access.allow_from and blocks outgoing traffic")
    ]
    allow_from: Annotated[
        tuple[str, ...],
        Key(
            "sources that the NetworkPolicy admits",
            **each_like(r"namespace:[a-z0-9-]+|pods:[^=\s]+=\S*|cidr:[0-9a-fA-F.:]+/[0-9]+", '["namespace:ingress"]'),
        ),
    ]


@dataclass(frozen=True)
class Watch:
    """Monitoring of the engine."""

    pod_monitor: Annotated[bool, Key("whether to create a PodMonitor for the Prometheus operator")]
    scrape_annotations: Annotated[bool, Key("whether to add the annotations prometheus.io/scrape to the pod")]
    alerts: Annotated[bool, Key("whether to create alert rules for the Prometheus operator (PrometheusRule)")]
    dashboard: Annotated[bool, Key("whether to create a dashboard for Grafana's sidecar (ConfigMap)")]
    labels: Annotated[
        tuple[str, ...],
        Key(
            "labels by which the operator selects these objects",
            **each_like(LABEL, '["release=kube-prometheus-stack"]'),
        ),
    ]


@dataclass(frozen=True)
class Manifests:
    """Additional objects of the site."""

    extra: Annotated[str, Key("folder with your own .yaml files, applied together with ours; empty: none")]


@dataclass(frozen=True)
class Policy:
    """Exceptions from the policy for manifests."""

    exceptions: Annotated[
        tuple[str, ...],
        Key(
            "policy rules to allow violations of, each with the reason", **each_like(r"[a-z-]+: ?\S.*", '["RULE: why"]')
        ),
    ]
