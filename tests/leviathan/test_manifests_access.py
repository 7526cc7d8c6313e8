"""Access from outside: the API key's Secret, Ingress, route, TLS, NetworkPolicy, and how they are found again."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster import secrets
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.kinds import in_order
from leviathan.cluster.prune import labelled
from leviathan.errors import UsageError
from leviathan.manifests.rendering import render
from leviathan.preflight.check_result import Level
from leviathan.preflight.facts import Facts
from leviathan.preflight.required_secrets import access
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.smoke.tested_deployment import TestedDeployment
from leviathan.terminal.output import Console

DIGEST = f"sha256:{'1' * 64}"
NOT_FOUND = Answer(404, {"kind": "Status", "code": 404, "message": "not found"})
DOORS = (
    "access.ingress_host=x.example.org",
    "access.ingress_class=nginx",
    "access.ingress_tls_secret=x-tls",
    "access.ingress_annotations=cert-manager.io/cluster-issuer=letsencrypt",
    "access.gateway=gateways/public",
    "access.gateway_host=x.example.org",
    "access.network_policy=true",
    "access.allow_from=namespace:ingress, pods:app=web, cidr:192.168.1.0/24",
)


def site(*settings: str) -> Site:
    return load(settings=[f"image.digest={DIGEST}", *settings]).site


def rendered(*settings: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in render(site(*settings), {}).objects}


def test_the_doors_are_rendered_and_valid() -> None:
    objects = rendered(*DOORS)
    for kind in ("Ingress", "NetworkPolicy", "Deployment"):
        kubernetes_validate.validate(objects[kind], "1.34", strict=True)
    ingress = objects["Ingress"]
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt"}
    assert ingress["spec"]["tls"] == [{"hosts": ["x.example.org"], "secretName": "x-tls"}]
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    assert backend == {"service": {"name": "leviathan-inference", "port": {"name": "http"}}}
    assert objects["HTTPRoute"]["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["egress"] == []
    assert policy["ingress"][0]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}},
        {"podSelector": {"matchLabels": {"app": "web"}}},
        {"ipBlock": {"cidr": "192.168.1.0/24"}},
    ]
    named = objects["Deployment"]["metadata"]["annotations"]["leviathan/more-kinds"]
    assert named == "HTTPRoute,Ingress,NetworkPolicy"


def test_the_runbooks_site_has_none_of_it() -> None:
    objects = rendered()
    assert set(objects) == {"Namespace", "Deployment", "Service"}
    assert "annotations" not in objects["Deployment"]["metadata"]


def test_what_is_made_first_is_applied_first() -> None:
    kinds = [each["kind"] for each in in_order(render(site(*DOORS), {}).objects)]
    assert kinds.index("NetworkPolicy") < kinds.index("Deployment") < kinds.index("Service") < kinds.index("Ingress")


def test_a_door_that_is_no_longer_asked_for_is_found_by_the_annotation(api: ReplayApi, cluster: Cluster) -> None:
    ours = {"app.kubernetes.io/managed-by": "leviathan"}
    live = {
        "metadata": {"name": "d", "namespace": "ai", "labels": ours, "annotations": {"leviathan/more-kinds": "Ingress"}}
    }
    for kind, path, items in (
        ("Deployment", "/apis/apps/v1/namespaces/ai/deployments", [live]),
        ("Service", "/api/v1/namespaces/ai/services", []),
        ("PersistentVolumeClaim", "/api/v1/namespaces/ai/persistentvolumeclaims", []),
        ("PersistentVolume", "/api/v1/persistentvolumes", []),
        (
            "Ingress",
            "/apis/networking.k8s.io/v1/namespaces/ai/ingresses",
            [{"metadata": {"name": "i", "labels": ours}}],
        ),
    ):
        body = {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": items}
        api.add("GET", path, Answer(200, body))
    found = labelled(cluster, "ai", lambda _text: None)
    assert [each["metadata"]["name"] for each in found] == ["i", "d"]
    assert not any("networkpolicies" in each.path for each in api.asked)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("access.allow_from=namespace:x", "has no effect without access.network_policy = true"),
        ("access.ingress_tls_secret=x", "has no effect without access.ingress_host"),
        ("access.api_key=on", "expected one of off, secret, got 'on'"),
        ("access.gateway=public", "expected a string such as gateways/public"),
        ("access.allow_from=everybody", "expected a list of strings such as"),
    ],
)
def test_wrong_settings_are_named(setting: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(settings=[setting])
    assert words in str(caught.value)


def test_tls_by_the_engine_itself() -> None:
    chosen = site("access.tls_secret=engine-tls")
    container = rendered("access.tls_secret=engine-tls")["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert {container[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "HTTPS"
    }
    assert {"name": "LEVIATHAN_TLS_CERT_FILE", "value": "/etc/leviathan/tls/tls.crt"} in container["env"]
    assert chosen.endpoint == "https://192.168.3.2:30000"


def test_the_first_deploy_makes_a_key_and_prints_how_to_read_it(
    api: ReplayApi, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = site("access.api_key=secret")
    api.add("GET", secrets.path(chosen, "cortex-leviathan-api-key"), NOT_FOUND)
    api.add("POST", "/api/v1/namespaces/ai-workloads/secrets", Answer(201, {"kind": "Secret"}))
    assert secrets.ensure(chosen, cluster, {}, Console()) == ["Secret/cortex-leviathan-api-key"]
    key = base64.b64decode(api.asked[-1].body["data"]["api-key"]).decode()
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", key)
    said = capsys.readouterr().err
    assert "kubectl --context replay -n ai-workloads get secret cortex-leviathan-api-key -o jsonpath=" in said
    assert key not in said
    assert secrets.new_key() != secrets.new_key()


def given(key: str) -> Answer:
    return Answer(
        200, {"kind": "Secret", "metadata": {"name": "k"}, "data": {"api-key": base64.b64encode(key.encode()).decode()}}
    )


def test_a_key_that_is_there_is_kept_and_smoke_reads_it(api: ReplayApi, cluster: Cluster) -> None:
    chosen = site("access.api_key=secret", "access.api_key_secret=k")
    api.add("GET", secrets.path(chosen, "k"), given("sk-mine\n"))
    assert secrets.ensure(chosen, cluster, {}, Console()) == []
    assert TestedDeployment(chosen, {}, Console(), cluster).api_key() == "sk-mine"
    assert TestedDeployment(site(), {}, Console(), cluster).api_key() == ""
    assert {each.method for each in api.asked} == {"GET"}


def test_a_secret_without_the_entry_says_so(
    api: ReplayApi, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = site("access.api_key=secret", "access.api_key_secret=k")
    api.add("GET", secrets.path(chosen, "k"), Answer(200, {"kind": "Secret", "data": {"other": ""}}))
    with pytest.raises(ClusterError, match=r"Secret/k has no API key.*its entry api-key is missing or empty"):
        secrets.read_key(chosen, cluster)
    assert TestedDeployment(chosen, {}, Console(), cluster).api_key() == ""
    assert "warning: cannot read the API key: Secret/k has no API key" in capsys.readouterr().err


def test_preflight_says_who_may_ask(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", "/version", Answer(200, {"gitVersion": "v1.34.0", "major": "1", "minor": "34"}))
    for name in ("cortex-leviathan-api-key", "pull", "tls"):
        api.add("GET", f"/api/v1/namespaces/ai-workloads/secrets/{name}", NOT_FOUND)

    def found(*settings: str) -> list[tuple[Level, str]]:
        facts = Facts(site(*settings), {}, Console(), connect=lambda: cluster)
        return [(each.level, f"{each.text}; {each.fix}") for each in access(facts)]

    assert found() == [
        (
            Level.OK,
            "no API key is required (access.api_key = off): anyone who can reach http://192.168.3.2:30000 can use it; ",
        )
    ]
    key, pull, tls = found("access.api_key=secret", "image.pull_secret=pull", "access.tls_secret=tls")
    assert key == (Level.OK, "apply will create Secret/cortex-leviathan-api-key; ")
    assert pull[0] is tls[0] is Level.PROBLEM
    assert "create secret docker-registry pull --docker-server=192.168.3.10:5000" in pull[1]
    assert "create secret tls tls --cert=tls.crt --key=tls.key" in tls[1]


def test_the_front_takes_the_key_file_as_it_is_mounted(tmp_path: Path) -> None:
    from leviathan_engine.front.access.settings import access as front_access  # noqa: PLC0415

    key = secrets.new_key()
    (tmp_path / "api-key").write_text(key)
    (read,) = front_access({"LEVIATHAN_API_KEY_FILE": str(tmp_path / "api-key")}).keys
    assert key in json.dumps({"key": str(vars(read) if hasattr(read, "__dict__") else read)})
