"""Sections of the site file: who may reach the engine, what watches it, and objects of your own."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site.choices import ApiKey
from leviathan.site.keys import Key, each_like, like
from leviathan.site.patterns import DNS, LABEL, NAME


@dataclass(frozen=True)
class AccessSettings:
    """Who may ask the engine, and through which door."""

    api_key: Annotated[ApiKey, Key("off: everybody who reaches the port; secret: whoever has the key of the Secret")]
    api_key_secret: Annotated[
        str, Key("name of that Secret; empty: DEPLOYMENT-api-key", **like(f"({NAME})?", "deepseek-api-key"))
    ]
    tls_secret: Annotated[
        str, Key("Secret of type kubernetes.io/tls for HTTPS by the engine itself", **like(f"({NAME})?", "engine-tls"))
    ]
    ingress_host: Annotated[
        str, Key("host name of an Ingress; empty: none", **like(f"({DNS})?", "leviathan.example.org"))
    ]
    ingress_class: Annotated[str, Key("its class; empty: the cluster's default", **like(f"({DNS})?", "nginx"))]
    ingress_tls_secret: Annotated[
        str, Key("Secret with its certificate; cert-manager makes it", **like(f"({NAME})?", "leviathan-tls"))
    ]
    ingress_annotations: Annotated[
        tuple[str, ...],
        Key("annotations of the Ingress", **each_like(r"[^=\s]+=.*", '["cert-manager.io/cluster-issuer=letsencrypt"]')),
    ]
    gateway: Annotated[
        str,
        Key("NAMESPACE/NAME of a Gateway for an HTTPRoute; empty: none", **like(f"({NAME}/{DNS})?", "gateways/public")),
    ]
    gateway_host: Annotated[str, Key("host name of that route; empty: any", **like(f"({DNS})?", "leviathan.example"))]
    network_policy: Annotated[bool, Key("whether a NetworkPolicy admits only access.allow_from, and lets nothing out")]
    allow_from: Annotated[
        tuple[str, ...],
        Key(
            "who may reach the port then",
            **each_like(r"namespace:[a-z0-9-]+|pods:[^=\s]+=\S*|cidr:[0-9a-fA-F.:]+/[0-9]+", '["namespace:ingress"]'),
        ),
    ]


@dataclass(frozen=True)
class Watch:
    """What watches the engine."""

    pod_monitor: Annotated[bool, Key("whether the Prometheus operator scrapes the pod (PodMonitor)")]
    scrape_annotations: Annotated[bool, Key("whether the pod has the annotations prometheus.io/scrape")]
    alerts: Annotated[bool, Key("whether the operator gets alert rules (PrometheusRule)")]
    dashboard: Annotated[bool, Key("whether Grafana's sidecar gets a dashboard (ConfigMap)")]
    labels: Annotated[
        tuple[str, ...],
        Key("labels by which they select these", **each_like(LABEL, '["release=kube-prometheus-stack"]')),
    ]


@dataclass(frozen=True)
class Manifests:
    """Objects of the site's own."""

    extra: Annotated[str, Key("folder with .yaml files that are applied with ours; empty: none")]


@dataclass(frozen=True)
class Policy:
    """What the site's manifests may do that ours do not."""

    exceptions: Annotated[
        tuple[str, ...],
        Key("rules that may be broken, each with its reason", **each_like(r"[a-z-]+: ?\S.*", '["RULE: why"]')),
    ]
