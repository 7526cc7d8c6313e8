"""preflight against recorded answers of a real API server: what it finds, that it only reads, each check for itself."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from apply_scenes import SCENES
from fakes.replay_api import ANSWERS, Answer, ApiRequest, ReplayApi, read_recording
from preflight_site import DIFFERENCES, DIGEST, scene_site
from push_support import Talk

from leviathan.cluster.client import Cluster, RetryPolicy, connect
from leviathan.cluster.kinds import path_of
from leviathan.manifests.rendering import render
from leviathan.preflight.access import REVIEWS, WHO, wanted
from leviathan.preflight.api import NEWEST, OLDEST
from leviathan.preflight.check_result import CheckResult, Level, NotAsked, ok
from leviathan.preflight.facts import Facts
from leviathan.preflight.preflight_phase import CHECKS, ask, run
from leviathan.rollout.observe.reader import collections
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

#: Checks that ask the cluster and need no image.
ASKING = [name for name in CHECKS if name not in ("image", "registry", "march", "cards")]
#: Verb, resource and namespace.
Right3 = tuple[str, str, str]
HASTY = RetryPolicy(first_s=0.2, again_s=0.2, request_s=5, connect_s=2, pause_s=0.05)


class Replay(ReplayApi):
    """Answers a request that has a body by the recorded one with the same body: reviews come in any order."""

    def answer(self, asked: ApiRequest) -> Answer:
        if asked.body is not None:
            for each in self.exchanges:
                if (each.method, each.path, each.sent) == (asked.method, asked.path, asked.body):
                    self.asked.append(asked)
                    return each.answer
        return super().answer(asked)


@contextmanager
def replayed(scene: str) -> Iterator[Replay]:
    server = Replay(read_recording(ANSWERS / f"preflight/{scene}.json"))
    try:
        yield server
    finally:
        server.close()


def facts_of(site: Site, server: ReplayApi, folder: Path) -> Facts:
    def connecting() -> Cluster:
        cluster = connect(site, {"KUBECONFIG": str(server.kubeconfig(folder))})
        cluster.transport.patience = HASTY
        return cluster

    return Facts(site, {}, Console(Talk()), connect=connecting)


def findings(facts: Facts) -> dict[str, list[CheckResult]]:
    return {name: ask(CHECKS[name], facts) for name in ASKING}


def table(found: dict[str, list[CheckResult]], server: ReplayApi) -> str:
    lines = []
    for name, each in ((name, each) for name, several in found.items() for each in several):
        lines += [f"{each.level.value} {name}: {each.text}"] + ([f"    fix: {each.fix}"] if each.fix else [])
    return "\n".join(lines).replace(server.address, "SERVER") + "\n"


@pytest.mark.parametrize("scene", DIFFERENCES)
def test_what_is_found(scene: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    with replayed(scene) as server:
        found = findings(facts_of(scene_site(scene), server, tmp_path))
        assert not server.unexpected, [(each.line, each.query) for each in server.unexpected]
        golden(f"preflight-{scene}.txt", table(found, server))


@pytest.mark.parametrize("scene", DIFFERENCES)
def test_nothing_is_changed_and_nothing_asked_twice(scene: str, tmp_path: Path) -> None:
    with replayed(scene) as server:
        findings(facts_of(scene_site(scene), server, tmp_path))
        posts = [each for each in server.asked if each.method != "GET"]
        gets = [(each.path, json.dumps(each.query)) for each in server.asked if each.method == "GET"]
    assert {(each.method, each.path) for each in posts} <= {("POST", REVIEWS), ("POST", WHO)}
    assert bool(posts) == (scene != "wrong")
    assert len(gets) == len(set(gets))


#: A command that can be run, or a flag of one.
COMMAND = re.compile(r"\b(leviathan|kubectl|talosctl|nix|curl|docker) [a-z-]|--set \w+\.\w+=")


def test_every_problem_names_the_command_that_fixes_it() -> None:
    """And every warning that has a way out a command or the key of the site."""
    count = {"problem": 0, "warning": 0}
    for scene in DIFFERENCES:
        lines = (Path(__file__).with_name("goldens") / f"preflight-{scene}.txt").read_text().splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            level = line.split()[0]
            if level == "problem" or (level == "warning" and after.startswith("    fix: ")):
                assert after.startswith("    fix: "), line
                assert COMMAND.search(after) or (level == "warning" and re.search(r"\b[a-z]+\.[a-z_]+\b", after)), after
                count[level] += 1
    assert min(count.values()) > 15


@pytest.mark.parametrize(("scene", "status"), [("taken", 500), ("fine", 403), ("fine", 404)])
def test_a_check_that_cannot_be_made_hides_no_other(scene: str, status: int, tmp_path: Path) -> None:
    """Each path in turn fails; every check that does not ask for it finds the same as before."""
    with replayed(scene) as server:
        before = findings(facts_of(scene_site(scene), server, tmp_path))
        paths = sorted({each.path for each in server.exchanges} - {"/version"})
        exchanges = list(server.exchanges)
        assert len(paths) >= 8
        for path in paths:
            reason = {"kind": "Status", "status": "Failure", "message": f"{path} is broken", "code": status}
            server.exchanges = [each for each in exchanges if each.path != path]
            for method in ("GET", "POST"):
                server.add(method, path, Answer(status, reason))
            now = findings(facts_of(scene_site(scene), server, tmp_path))
            assert now.keys() == before.keys()
            changed = {name for name in now if now[name] != before[name]}
            assert changed <= ASKED_BY.get(path.rsplit("/", 1)[-1], set()), path
            assert all(now.values())


#: The last step of a path → the checks that use it.
ASKED_BY = {
    "talos-u8k-rze": {"node", "gpus", "cpu", "memory", "runtime-class", "plan"},
    "pods": {"gpus", "cpu", "memory"},
    "nvidia": {"runtime-class"},
    "lab-fine": {"namespace", "permission"},
    "lab-taken": {"namespace", "permission"},
    "services": {"node-port"},
    "cortex-leviathan": {"names"},
    "leviathan-inference": {"names"},
    "selfsubjectaccessreviews": {"permission"},
    "selfsubjectreviews": {"permission"},
}


def test_a_forbidden_question_is_a_warning_and_a_broken_one_a_problem(tmp_path: Path) -> None:
    for status, level in ((403, Level.WARNING), (500, Level.PROBLEM)):
        with replayed("fine") as server:
            server.exchanges = [each for each in server.exchanges if each.path != "/api/v1/services"]
            server.add("GET", "/api/v1/services", Answer(status, {"kind": "Status", "message": "no"}))
            facts = facts_of(scene_site("fine"), server, tmp_path)
            [found] = ask(CHECKS["node-port"], facts)
            assert found.level is level


def test_no_server_is_one_problem(tmp_path: Path) -> None:
    with replayed("fine") as server:
        kubeconfig = server.kubeconfig(tmp_path)
    site = scene_site("fine")  # the server is gone

    def connecting() -> Cluster:
        cluster = connect(site, {"KUBECONFIG": str(kubeconfig)})
        cluster.transport.patience = HASTY
        return cluster

    found = {name: ask(CHECKS[name], Facts(site, {}, Console(Talk()), connect=connecting)) for name in ASKING}
    assert [each.level for each in found["kubeconfig"]] == [Level.OK]
    [api] = found["api"]
    assert api.level is Level.PROBLEM
    assert "cannot reach the API server" in api.text
    assert "get --raw /readyz" in api.fix
    others = [each for name in ASKING[2:-1] if name != "access" for each in found[name]]
    assert {each.text for each in others} == {"unknown: the API server cannot be reached"}
    assert found["plan"][0].level is Level.OK


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (None, "", "no kubeconfig found"),
        ("{", "", "the kubeconfig is invalid"),
        ('{"contexts": [], "clusters": []}', "", "no current context"),
        ('{"contexts": [{"name": "a", "context": {}}], "current-context": "a"}', "b", "no context b"),
    ],
)
def test_a_wrong_kubeconfig_is_one_problem(content: str | None, context: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    site = scene_site("fine", cluster__context=context)
    facts = Facts(site, {}, Console(Talk()), connect=lambda: connect(site, {"KUBECONFIG": str(path)}))
    found = {name: ask(CHECKS[name], facts) for name in ASKING}
    [kubeconfig], [api] = found["kubeconfig"], found["api"]
    assert kubeconfig.level is Level.PROBLEM
    assert words in kubeconfig.text
    assert kubeconfig.fix
    assert api.text == "unknown: the kubeconfig cannot be used"
    assert sum(each.level is Level.PROBLEM for several in found.values() for each in several) == 1


@pytest.mark.parametrize(
    ("key", "value", "kind", "words"),
    [
        (
            "storage.partition",
            "/dev/nvme1n1p1",
            "PersistentVolume",
            "cannot be changed from /dev/nvme0n1p1 to /dev/nvme1",
        ),
        ("storage.filesystem", "ext4", "PersistentVolume", "cannot be changed from xfs to ext4"),
        ("storage.size_gb", "2000", "PersistentVolumeClaim", "cannot be changed from 3000 to 2000"),
        ("cluster.node", "talos-2", "PersistentVolume", "cannot be changed from talos-u8k-rze to talos-2"),
    ],
)
def test_a_volume_that_cannot_become_what_the_site_says(
    key: str, value: str, kind: str, words: str, tmp_path: Path
) -> None:
    """Found before anything is changed, with the way that does not hang; an equal volume is ours and no problem."""
    there = {"nvme__size_gb": "3000"}
    before, after = (scene_site("unprivileged", **there | more) for more in ({}, {key.replace(".", "__"): value}))
    with replayed("fine") as server:
        server.exchanges = [each for each in server.exchanges if each.path == "/version"]
        for each in render(before, {}).objects:
            server.add("GET", path_of(each), Answer(200, as_stored(each)))
        same, changed = (ask(CHECKS["names"], facts_of(site, server, tmp_path)) for site in (before, after))
    assert [each.level for each in same] == [Level.OK]
    bad = [each for each in changed if each.level is Level.PROBLEM]
    assert [each.text.startswith(f"{kind}/leviathan-models: {key} {words}") for each in bad] == [True]
    assert bad[0].fix.startswith("leviathan delete, then leviathan apply (")


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (None, "engine.kept_claim: the PersistentVolumeClaim talks does not exist in lab-fine"),
        (("Lost", "ReadWriteOnce", "100Gi"), "engine.kept_claim: talks has lost its volume"),
        (("Bound", "ReadOnlyMany", "100Gi"), "engine.kept_claim: talks is read-only, but must be writable"),
        (("Bound", "ReadWriteOnce", "20G"), "engine.kept_gb = 50 is more than the 20 GB of talks"),
        (("Pending", "ReadWriteOnce", "50G"), ""),
    ],
)
def test_the_claim_for_conversations(claim: tuple[str, str, str] | None, words: str, tmp_path: Path) -> None:
    """What would keep the pod from starting, or the engine from writing; without keys a warning in any case."""
    site = scene_site("fine", engine__kept="claim", engine__kept_claim="talks")
    path = "/api/v1/namespaces/lab-fine/persistentvolumeclaims/talks"
    with replayed("fine") as server:
        if claim is None:
            server.add("GET", path, Answer(404, {"kind": "Status", "code": 404, "reason": "NotFound"}))
        else:
            phase, mode, size = claim
            spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
            server.add("GET", path, Answer(200, {"spec": spec, "status": {"phase": phase}}))
        found = ask(CHECKS["names"], facts_of(site, server, tmp_path))
    bad = [each for each in found if each.level is Level.PROBLEM]
    assert [each.text for each in bad] == ([words] if words else [])
    assert all(each.fix for each in bad)
    shared = [each.text for each in found if each.level is Level.WARNING]
    if claim is not None:
        assert shared == ["all clients share the conversations stored in talks, because no API key is required"]


def as_stored(each: Any) -> Any:
    """An object as the API server keeps it: quantities in their shortest form."""
    return json.loads(json.dumps(each).replace('"3000G"', '"3T"'))


def test_the_version_span_is_that_of_the_schemas() -> None:
    """The manifests are held to these schemas, so these versions are supported, and no others."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    versions = {tuple(map(int, name.name[1:].split(".")[:2])) for name in folder.iterdir()}
    assert (min(versions), max(versions)) == (OLDEST, NEWEST)


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ("v1.25.0", Level.OK, "v1.25.0"),
        ("v1.37.9+k3s1", Level.OK, "v1.37.9"),
        ("v1.24.17", Level.PROBLEM, "too old"),
        ("v1.38.0", Level.WARNING, "newer than the tested versions"),
        ("v2.0.0", Level.WARNING, "newer than the tested versions"),
        ("devel", Level.WARNING, "expected a version such as"),
    ],
)
def test_versions(version: str, level: Level, words: str, tmp_path: Path) -> None:
    with replayed("fine") as server:
        server.exchanges = []
        server.add("GET", "/version", Answer(200, {"gitVersion": version}))
        [found] = ask(CHECKS["api"], facts_of(scene_site("fine"), server, tmp_path))
        assert found.level is level
        assert words in found.text


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


def test_a_failing_check_is_a_finding_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(facts: Facts) -> Iterator[CheckResult]:
        yield ok("first")
        raise ZeroDivisionError("a slip")

    def waits(facts: Facts) -> Iterator[CheckResult]:
        raise NotAsked("the moon is away")

    monkeypatch.setattr(
        "leviathan.preflight.preflight_phase.CHECKS", {"a": breaks, "b": waits, "c": lambda facts: [ok("c")]}
    )
    with replayed("fine") as server:
        done = run(scene_site("fine"), {"KUBECONFIG": str(server.kubeconfig(tmp_path))}, Console(Talk()))
    assert [(each.check, each.finding.level.value) for each in done.found] == [
        ("a", "ok"),
        ("a", "problem"),
        ("b", "warning"),
        ("c", "ok"),
    ]
    assert "this check failed: ZeroDivisionError: a slip" in done.text()
    assert done.text().endswith("1 problem, 1 warning, 2 ok")
    assert not done.ok
    assert done.error().exit_code == 3
