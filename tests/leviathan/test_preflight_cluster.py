"""preflight against recorded answers of a real API server: what it finds, that it only reads, each check for itself."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from fakes.replay_api import Answer, ReplayApi
from preflight_site import DIFFERENCES, scene_site
from preflight_support import HASTY, facts_of, replayed
from push_support import Talk

from leviathan.cluster.client import Cluster, connect
from leviathan.preflight.access import REVIEWS, WHO
from leviathan.preflight.api import NEWEST, OLDEST
from leviathan.preflight.check_result import CheckResult, FactUnavailable, Level, ok
from leviathan.preflight.facts import Facts
from leviathan.preflight.preflight_phase import CHECKS, ask, run
from leviathan.terminal.output import Console

#: Checks that ask the cluster and need no image.
ASKING = [name for name in CHECKS if name not in ("image", "registry", "march", "cards")]


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


def test_a_failing_check_is_a_finding_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(facts: Facts) -> Iterator[CheckResult]:
        yield ok("first")
        raise ZeroDivisionError("a slip")

    def waits(facts: Facts) -> Iterator[CheckResult]:
        raise FactUnavailable("the moon is away")

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
