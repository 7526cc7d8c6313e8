"""preflight's parts: the registry, the plan, the command."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.fault_registry import Fault, FaultRegistry
from preflight_labels import look, no_cluster
from push_support import REPOSITORY, TOOLS, Talk, make_layout, make_site, real_registry

from leviathan.model.manifest import Manifest, ModelFile
from leviathan.placement import load_model, write_header
from leviathan.preflight.check_result import CheckResult, Level
from leviathan.preflight.facts import Facts
from leviathan.preflight.preflight_phase import CHECKS, run, with_context
from leviathan.push.push_image import PushContext, connect
from leviathan.terminal.output import Console


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_real_registry_is_left_as_it_was(tmp_path: Path) -> None:
    with real_registry(tmp_path) as registry:
        site = make_site(registry.host)
        before = files(registry.storage)
        [found] = look("registry", site, tmp_path)
        assert found == CheckResult(Level.OK, f"http://{registry.host}/v2/{REPOSITORY} accepts pushes")
        assert files(registry.storage) == before
        # There would be something to see: an upload that is begun and given up leaves a file.
        client = connect(site, PushContext({"HOME": str(tmp_path)}, Console(Talk())))
        client.cancel(client.start().location)
        client.transport.close()
        assert files(registry.storage) != before


def test_a_real_registry_that_only_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")
    with real_registry(tmp_path) as registry:
        [found] = look("registry", make_site(registry.host), tmp_path)
    assert found.level is Level.PROBLEM
    assert "refuses to accept a push" in found.text
    assert found.fix


@pytest.mark.parametrize(
    ("fault", "level", "words"),
    [
        (Fault("PUT", status=400, code="MANIFEST_INVALID", times=9), Level.OK, "accepts pushes"),
        (Fault("PUT", status=422, code="DIGEST_INVALID", times=9), Level.OK, "accepts pushes"),
        (Fault("PUT", status=400, code="BAD_REQUEST", times=9), Level.PROBLEM, "refuses to accept a push"),
        (Fault("PUT", status=403, code="DENIED", times=9), Level.PROBLEM, "denies access"),
        (Fault("PUT", status=404, code="NAME_UNKNOWN", times=9), Level.PROBLEM, "refuses to accept a push"),
        (Fault("PUT", status=405, code="UNSUPPORTED", times=9), Level.PROBLEM, "refuses to accept a push"),
        (Fault("PUT", status=500, times=9), Level.PROBLEM, "2 attempts in a row failed"),
    ],
)
def test_a_registry_with_faults(fault: Fault, level: Level, words: str, tmp_path: Path) -> None:
    with FaultRegistry(fault).serve() as registry:
        [found] = look("registry", make_site(registry.host), tmp_path)
    assert found.level is level
    assert words in found.text


def test_a_given_digest_has_to_be_in_the_registry(tmp_path: Path) -> None:
    """It is looked for, and no push is tried: none will come."""
    digest = f"sha256:{'1' * 64}"
    with FaultRegistry().serve() as registry:
        site = make_site(registry.host, image_digest=digest)
        [absent] = look("registry", site, tmp_path)
        registry.manifests[REPOSITORY, digest] = ("any", b"{}")
        [there] = look("registry", site, tmp_path)
        assert registry.methods() == ["HEAD", "HEAD"]
    [unknown] = look("registry", site, tmp_path)
    assert absent.level is Level.PROBLEM
    assert "the registry does not have the image" in absent.text
    assert absent.fix.startswith("leviathan push")
    assert there == CheckResult(Level.OK, f"http://{registry.host}/v2/{REPOSITORY} has {digest}")
    assert unknown.level is Level.WARNING
    assert unknown.text.startswith(f"unknown whether http://{registry.host}/v2/{REPOSITORY} has the image: cannot")


def test_a_registry_that_checks_nothing(tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        [found] = look("registry", make_site(registry.host), tmp_path)
        [(_, digest)] = {key for key in registry.manifests if key[1] in found.fix}
    assert found.level is Level.WARNING
    assert "does not verify what it stores" in found.text
    assert digest.startswith("sha256:")


def test_no_registry(tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        gone = registry.host
    [found] = look("registry", make_site(gone), tmp_path)
    assert found.level is Level.PROBLEM
    assert "no connection" in found.text
    assert f"curl -i http://{gone}/v2/" in found.fix


# --- plan


def test_the_plan_is_assumed_where_no_model_is_given(tmp_path: Path) -> None:
    first, *rest = look("plan", make_site("127.0.0.1:9"), tmp_path)
    assert first.level is Level.OK
    assert "(assuming DeepSeek-V3 Q4_K_M" in first.text
    assert rest == []


def test_the_plan_with_a_model(tmp_path: Path) -> None:
    header, manifest = tmp_path / "header.json", tmp_path / "model.json"
    write_header(load_model(None), header)
    manifest.write_text(Manifest((ModelFile("a.gguf", 1),), header.read_text().strip()).json())
    plain = tmp_path / "plain.json"
    plain.write_text(Manifest((ModelFile("a.gguf", 1),)).json())
    site = make_site("127.0.0.1:9")
    by_header = look("plan", site, tmp_path, header=header)
    assert "the model has 404 GB, but the start budget is for model.size_gb = 385" in by_header[-1].text
    assert by_header[0].text.endswith(f"({header})")
    by_manifest = look("plan", make_site("127.0.0.1:9", model_manifest=str(manifest)), tmp_path)
    assert by_manifest[-1] == by_header[-1]
    assert "assuming" in look("plan", make_site("127.0.0.1:9", model_manifest=str(plain)), tmp_path)[0].text
    [missing] = look("plan", site, tmp_path, header=tmp_path / "none.json")
    assert missing.level is Level.PROBLEM
    cards = look("plan", site, tmp_path, gpu_memory="20000,10000")
    assert [(each.level, "engine.gpu_split: 90000 MB are" in each.text) for each in cards] == [(Level.PROBLEM, True)]
    small = make_site("127.0.0.1:9", engine_gpu_split="5000,5000")
    assert [each.level for each in look("plan", small, tmp_path)] == [Level.WARNING]
    assert [each.level for each in look("plan", small, tmp_path, header=header)] == [Level.PROBLEM]


# --- all of it


def test_kubectl_goes_to_the_same_cluster(tmp_path: Path) -> None:
    class Connected(Facts):
        @property
        def connection(self) -> Any:
            return dataclasses.make_dataclass("Context", ["context"])("my home")

    facts = Connected(make_site("127.0.0.1:9"), {}, Console(Talk()), connect=no_cluster)
    fix = "kubectl get x && kubectl --context other get y, labelled kubectl.kubernetes.io/z"
    found = with_context(CheckResult(Level.PROBLEM, "text", fix), facts)
    assert found.fix == fix.replace("kubectl get x", "kubectl --context 'my home' get x")


def test_the_command(tmp_path: Path) -> None:
    """Without a cluster: a table with all checks, exit status 3, the reason as the last line, the same as JSON."""
    layout = make_layout(tmp_path / "image", (1000,))
    with FaultRegistry().serve() as registry:
        arguments = ["--set", f"registry.host={registry.host}", "--set", f"image.layout={layout.path}"]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "HOME": str(tmp_path)}
        done, again = (
            subprocess.run(
                [sys.executable, "-m", "leviathan", "preflight", *arguments, *more],
                env=environ,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            for more in ((), ("--json", "--result-file", "r.json"))
        )
    assert done.returncode == 3
    checks = re.findall(r"^(?:ok|warning|problem) +(\d+ checks|\S+)", done.stdout, re.MULTILINE)
    (equal,) = re.findall(
        r"^warning  (?:\d+ checks) +unknown: the API server cannot be reached \((.*)\)$", done.stdout, re.M
    )
    assert {check for check in checks if " " not in check} | set(equal.split(", ")) == set(CHECKS)
    assert done.stdout.splitlines()[-1].startswith("1 problem, ")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: preflight found a problem: kubeconfig: no kubeconfig found")
    assert "Traceback" not in done.stderr
    assert again.returncode == 3
    report = json.loads(again.stdout)
    assert report == json.loads((tmp_path / "r.json").read_text())
    assert (report["ok"], report["changed"], report["problems"]) == (False, False, 1)
    assert {each["check"] for each in report["checks"]} == set(CHECKS)


def test_the_run_takes_any_site(tmp_path: Path) -> None:
    done = run(make_site("127.0.0.1:9"), {"HOME": str(tmp_path)}, Console(Talk()), connecting=no_cluster)
    assert [each.check for each in done.found if each.check in CHECKS] == [each.check for each in done.found]
    assert {each.check for each in done.found} == set(CHECKS)
    assert all(each.finding.fix for each in done.found if each.finding.level is Level.PROBLEM)
