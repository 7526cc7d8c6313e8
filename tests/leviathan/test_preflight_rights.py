"""The rights that preflight asks for in advance cover what the phases send, by recordings of a real API server."""

from collections.abc import Mapping

import pytest
from apply_scenes import SCENES
from fakes.replay_api import ANSWERS, read_recording
from preflight_site import DIGEST, scene_site

from leviathan.cluster.kinds import path_of
from leviathan.manifests.rendering import render
from leviathan.preflight.access import REVIEWS, WHO, wanted
from leviathan.rollout.observe.reader import collections
from leviathan.site.load import load
from leviathan.site.schema import Site

#: Verb, resource and namespace.
Right3 = tuple[str, str, str]


def test_the_rights_cover_what_the_rollout_asks() -> None:
    """Every collection that `rollout` reads, and its log and /health, are among the rights asked for in advance."""
    site = scene_site("fine")
    rights = {(each.verb, each.resource, each.namespace) for each in wanted(site, (), namespace_is_there=True)}
    pod = "/api/v1/namespaces/lab-fine/pods/x"
    asked = {right_of("GET", path, {}) for path in (f"{pod}/log", f"{pod}/proxy/health")}
    for path, _ in collections(site).values():
        asked |= {right_of("GET", path, {}), right_of("GET", path, {"watch": "true"})}
    assert len(asked) == 14
    assert asked <= rights


@pytest.mark.parametrize("scene", ["fine", "unprivileged"])
def test_the_rights_cover_what_apply_sends(scene: str) -> None:
    site = scene_site(scene)
    objects = render(site, {}).objects
    for there in (True, False):
        rights = {
            (each.verb, each.resource, each.namespace) for each in wanted(site, objects, namespace_is_there=there)
        }
        for each in objects:
            _, resource, space = right_of("GET", path_of(each), {})
            verbs = {verb for verb, of, where in rights if (of, where) == (resource, space)}
            assert {"get", "patch"} <= verbs
            assert ("create" in verbs) == (each["kind"] != "Namespace" or not there)


#: What only preflight itself reads; where it may not, it says that it does not know.
OWN_READS = {("get", "nodes", ""), ("list", "pods", ""), ("list", "services", ""), ("get", "runtimeclasses", "")}


def rights_sent(recording: str) -> set[Right3]:
    """The rights that the requests of a recording want, but for those that everybody has."""
    exchanges = read_recording(ANSWERS / f"{recording}.json")
    free = ("/version", REVIEWS, WHO)
    return {right_of(each.method, each.path, each.query) for each in exchanges if each.path not in free}


@pytest.mark.parametrize("name", ["first", "again", "taken-back"])
def test_the_rights_cover_a_recorded_deployment(name: str) -> None:
    """All that the six phases, a rollback among them, have sent to a real API server."""
    site = load(named={"image.digest": DIGEST, "model.pod_namespace": "default"}).site
    rights = rights_of(site, namespace_is_there=name != "first")
    sent = rights_sent(f"deploy/{name}") - OWN_READS
    assert len(sent) >= 20
    assert {("get", "pods/log", "default"), ("patch", "deployments", "ai-workloads")} <= sent  # model, smoke
    assert sent <= rights


@pytest.mark.parametrize("scene", [name for name in SCENES if not name.startswith("delete")])
def test_the_rights_cover_each_recorded_apply_and_rollback(scene: str) -> None:
    """Pruning as well: of volumes and claims, too, which the privileged variant's own objects are not."""
    unprivileged = scene.endswith("unprivileged") or scene.startswith("volume")
    variant = "unprivileged" if unprivileged else "privileged"
    named = {"image.digest": DIGEST, "cluster.namespace": f"lab-{scene}", "workload.variant": variant}
    sent = rights_sent(f"apply/{scene}") - {("watch", "namespaces", "")}  # of the scene `expired` alone
    assert sent <= rights_of(load(named=named).site, namespace_is_there=scene not in CREATES)


#: Scenes whose namespace is not there yet.
CREATES = ("created", "created-dry", "created-unprivileged", "diff-new", "runtime-class")


def rights_of(site: Site, *, namespace_is_there: bool) -> set[Right3]:
    """What preflight asks for, as verb, resource and namespace."""
    found = wanted(site, render(site, {}).objects, namespace_is_there=namespace_is_there)
    return {(each.verb, each.resource, each.namespace) for each in found}


def right_of(method: str, path: str, query: Mapping[str, str]) -> Right3:
    """The verb, resource and namespace that the API server makes of a request. Source: Kubernetes, "Request verbs"."""
    steps = path.split("/")[3 if path.startswith("/api/") else 4 :]
    space = steps[1] if steps[0] == "namespaces" and len(steps) > 2 else ""
    steps = steps[2:] if space else steps
    resource = steps[0] + (f"/{steps[2]}" if len(steps) > 2 else "")
    reading = "watch" if query.get("watch") else "get" if len(steps) > 1 else "list"
    return {"GET": reading, "POST": "create", "PATCH": "patch", "DELETE": "delete"}[method], resource, space
