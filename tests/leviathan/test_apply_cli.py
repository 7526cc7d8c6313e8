"""The commands apply, diff, delete and rollback: exit status, what is on stdout and what on stderr."""

import json
from pathlib import Path

import pytest
from apply_scenes import ENVIRON, SCENES, play
from fakes.fault_registry import FaultRegistry
from fakes.replay_api import replay

from leviathan.cli.main import run
from leviathan.cluster.client import connect
from leviathan.cluster.live_diff import DIFFERENT
from leviathan.errors import EXIT_CODES, ExitCode
from leviathan.site.load import load
from leviathan.site.schema import Site

DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def base() -> Site:
    return load(None, environ={}, settings=(), named={}).site


def command(scene: str, argv: list[str], folder: Path, base: Site, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command against a scene's recording, with the scene's site, and a registry that has the image."""
    registry = FaultRegistry()
    registry.manifests[base.image.repository, DIGEST] = ("any", b"{}")
    with registry.serve():
        return played(scene, [*argv, "--set", f"registry.host={registry.host}"], folder, base, monkeypatch)[0]


def played(
    scene: str, argv: list[str], folder: Path, base: Site, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, list[str]]:
    """Run a command against a scene's recording, with the scene's site: its status, and what it really wrote."""
    with replay(f"apply/{scene}") as api:
        kubeconfig = api.kubeconfig(folder)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        monkeypatch.setenv("LEVIATHAN_MANIFESTS", ENVIRON["LEVIATHAN_MANIFESTS"])
        site = play(scene, connect(base, {"KUBECONFIG": str(kubeconfig)})).site
        name, *others = argv
        place = ["--namespace", site.cluster.namespace, "--set", f"cluster.node={site.cluster.node}"]
        port = ["--set", f"engine.node_port={site.engine.node_port}", "--context", "other"]
        status = run([name, *place, *port, *others])
        return status, [each.line for each in api.asked if each.method != "GET" and "dryRun" not in each.query]


@pytest.mark.parametrize(
    ("scene", "argv", "status", "stdout", "stderr"),
    [
        ("created", ["apply", "--digest", DIGEST], 0, "Deployment/cortex-leviathan created", "warning: would violate"),
        ("unchanged", ["apply", "--digest", DIGEST], 0, "nothing to do: 3 objects", ""),
        ("configured-dry", ["apply", "--dry-run", "--digest", DIGEST], 0, "would be configured", ""),
        ("conflict", ["apply", "--digest", DIGEST], 6, "", "error: other field managers own 2 fields"),
        ("forced", ["apply", "--force-conflicts", "--digest", DIGEST], 0, "configured", "taking over: "),
        ("not-pruned", ["apply", "--no-prune", "--digest", DIGEST], 0, "nothing to do", ""),
        ("forbidden", ["apply", "--digest", DIGEST], 6, "", "error: forbidden: this kubeconfig may not "),
        ("diff-none", ["diff", "--digest", DIGEST], 0, "", "no difference in 3 objects"),
        ("diff-image", ["diff", "--digest", DIGEST], 2, "--- live/Deployment/cortex-leviathan", ""),
        ("diff-conflict", ["diff", "--digest", DIGEST], 2, "+++ site/Deployment/cortex-leviathan", "conflict: "),
        ("unauthorized", ["diff", "--digest", DIGEST], 6, "", "error: the cluster does not accept these credentials"),
        ("delete", ["delete", "--timeout", "60"], 0, "Namespace/lab-delete deleted", ""),
        ("delete-dry", ["delete", "--dry-run"], 0, "Namespace/lab-delete-dry would be deleted", ""),
        ("delete-nothing", ["delete"], 0, "nothing to do", ""),
        ("rollback-passed", ["rollback"], 0, "the last image that passed the smoke test", ""),
        ("rollback-dry", ["rollback", "--dry-run"], 0, "would roll back to", ""),
        ("rollback-nothing", ["rollback"], 6, "", "error: there is no earlier image to roll back to"),
    ],
)
def test_status_and_streams(
    scene: str,
    argv: list[str],
    status: int,
    stdout: str,
    stderr: str,
    tmp_path: Path,
    base: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(scene, argv, tmp_path, base, monkeypatch) == status
    said = capsys.readouterr()
    assert stdout in said.out
    assert bool(said.out.strip()) == bool(stdout)
    assert stderr in said.err


@pytest.mark.parametrize(
    ("scene", "argv", "expected"),
    [
        ("configured", ["apply", "--digest", DIGEST], {"ok": True, "changed": True}),
        ("diff-image", ["diff", "--digest", DIGEST], {"ok": True, "different": True, "looked_at": 3}),
        ("delete-stranger", ["delete"], {"ok": True, "namespace_stays": "it has other objects: ConfigMap/somebodys"}),
        ("rollback-before", ["rollback"], {"ok": True, "changed": True}),
        ("conflict", ["apply", "--digest", DIGEST], {"ok": False}),
    ],
)
def test_json(
    scene: str,
    argv: list[str],
    expected: dict[str, object],
    tmp_path: Path,
    base: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = tmp_path / "result.json"
    command(scene, [*argv, "--json", "--result-file", str(result)], tmp_path, base, monkeypatch)
    printed = json.loads(capsys.readouterr().out)
    assert expected.items() <= printed.items()
    assert json.loads(result.read_text()) == printed


WRONG = "sha256:" + "2" * 64  # which the registry does not have
IMAGE_CHANGES = [
    ("configured", ["apply", "--digest", WRONG]),
    ("configured-dry", ["apply", "--dry-run", "--digest", WRONG]),
    ("rollback-to", ["rollback", "--to", WRONG]),
]


@pytest.mark.parametrize(("scene", "argv"), IMAGE_CHANGES)
def test_an_image_that_the_registry_does_not_have_stops_nothing(
    scene: str,
    argv: list[str],
    tmp_path: Path,
    base: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Recreate would end the running engine, and only the kubelet would say that there is no such image."""
    with FaultRegistry().serve() as registry:
        where = ["--set", f"registry.host={registry.host}"]
        status, wrote = played(scene, [*argv, *where], tmp_path, base, monkeypatch)
    assert registry.requests == [("HEAD", f"/v2/omni/engine/manifests/{WRONG}")]
    assert (status, wrote) == (6, [])
    said = capsys.readouterr().err
    assert f"error: the registry does not have the image (http://{registry.host}/v2/omni/engine/manifests/" in said
    assert "fix: leviathan push" in said


@pytest.mark.parametrize(("scene", "argv"), IMAGE_CHANGES)
def test_a_registry_that_is_away_is_a_warning(
    scene: str,
    argv: list[str],
    tmp_path: Path,
    base: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FaultRegistry().serve() as registry:
        where = ["--set", f"registry.host={registry.host}"]
    status, wrote = played(scene, [*argv, *where], tmp_path, base, monkeypatch)
    assert status == 0
    assert len(wrote) == ("--dry-run" not in argv)
    assert "warning: cannot check whether the registry has the image: cannot check for the" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scene", "argv"),
    [
        ("unchanged", ["apply", "--digest", WRONG]),
        ("conflict", ["apply", "--digest", WRONG]),
        ("rollback-before", ["rollback"]),
    ],
)
def test_the_registry_is_not_asked_for_nothing(
    scene: str, argv: list[str], tmp_path: Path, base: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no Deployment is to be changed; and for an image that ran here, which may lie on the node."""
    with FaultRegistry().serve() as registry:
        played(scene, [*argv, "--set", f"registry.host={registry.host}"], tmp_path, base, monkeypatch)
    assert registry.requests == []


@pytest.mark.parametrize("name", ["apply", "diff", "delete", "rollback"])
def test_without_a_kubeconfig_the_status_is_the_commands_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `rollout` has 7 and `model` 5."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert run([name]) == 6
    assert capsys.readouterr().err.startswith("error: no kubeconfig found")


@pytest.mark.parametrize(("name", "status"), [("apply", 6), ("diff", 6), ("push", 4)])
def test_without_an_image_the_status_is_the_commands_own(
    name: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with replay() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
        assert run([name, "--layout", str(tmp_path / "none"), "--json"]) == status
        assert not api.asked
    said = capfd.readouterr()
    assert "error: no OCI image layout" in said.err
    assert json.loads(said.out)["error"]["exit_code"] == status


def test_a_diff_of_a_wrong_site_is_told_from_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """Both exit with 2, as the help says."""
    assert run(["diff", "--set", "cluster.nood=x"]) == 2
    assert capsys.readouterr().out == ""
    assert run(["diff", "--set", "cluster.nood=x", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_scenes_of_this_file_exist() -> None:
    recorded = {path.stem for path in (Path(__file__).with_name("answers") / "apply").glob("*.json")}
    assert recorded == set(SCENES)


def test_the_table_of_exit_codes_says_what_diff_does_with_2() -> None:
    assert "diff" in EXIT_CODES[ExitCode.USAGE]
    assert int(ExitCode.USAGE) == DIFFERENT
