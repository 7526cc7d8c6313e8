"""doctor and support: what a node's files mean, and what the archive holds, and what it does not."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi

from leviathan.cli.main import run as leviathan
from leviathan.cluster.client import Cluster
from leviathan.errors import LeviathanError
from leviathan.preflight.check_result import Level
from leviathan.rollout.observe.reader import collections
from leviathan.site.load import load
from leviathan.support.archive import ABOUT, metrics_of, objects, write
from leviathan.support.node_advice import diagnose
from leviathan.support.probe import SCRIPT, SECTIONS, sections

GOOD = """==== governors
     96 performance
==== thp
always [madvise] never
==== nodes
1
==== hugepages
HugePages_Total:       0
==== driver
NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20
==== cards
0000:01:00.0 32.0 32.0 16 16
==== smi
0, NVIDIA RTX PRO 6000, 12.0, 570.133.20, 0, 41, 0x0000000000000001
==== xid
"""
BAD = """==== governors
     64 powersave
     32 performance
==== thp
always madvise [never]
==== nodes
4
==== hugepages
HugePages_Total:    1024
==== cards
0000:01:00.0 16.0 32.0 16 16
0000:02:00.0 32.0 32.0 4 16
==== smi
0, NVIDIA RTX 5090, 12.0, 570.133.20, 3, 88, 0x0000000000000000
1, NVIDIA RTX 5090, 12.0, 570.133.20, 0, 92, 0x0000000000000040
==== xid
3,1,2,-;NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.
"""


def found(text: str, kubelet: Any = None, request: str = "48") -> dict[str, list[tuple[Level, str]]]:
    by_name: dict[str, list[tuple[Level, str]]] = {}
    for name, each in diagnose(sections(text.splitlines()), kubelet, request):
        by_name.setdefault(name, []).append((each.level, f"{each.text}; {each.fix}"))
    return by_name


def test_a_node_in_order() -> None:
    levels = {level for each in found(GOOD, {"cpuManagerPolicy": "none"}).values() for level, _ in each}
    assert levels == {Level.OK}


@pytest.mark.parametrize(
    ("check", "level", "words"),
    [
        ("governor", Level.WARNING, "performance on 32, powersave on 64"),
        ("huge-pages", Level.WARNING, '"kernel.mm.transparent_hugepage.enabled": "madvise"'),
        ("huge-pages", Level.WARNING, "1024 huge pages are reserved"),
        ("numa", Level.WARNING, "4 NUMA nodes"),
        ("pcie", Level.WARNING, "the card 0000:01:00.0 runs its link at 16.0 of 32.0 GT/s"),
        ("pcie", Level.PROBLEM, "the card 0000:02:00.0 has 4 of 16 PCIe lanes"),
        ("gpu", Level.PROBLEM, "3 uncorrected memory errors"),
        ("gpu", Level.WARNING, "throttled (0x0000000000000040)"),
        ("xid", Level.PROBLEM, "the card has fallen off the bus: power, riser or heat"),
    ],
)
def test_what_is_wrong_is_named_with_what_mends_it(check: str, level: Level, words: str) -> None:
    assert any(each is level and words in text for each, text in found(BAD)[check])


def test_the_cpu_manager() -> None:
    assert "not known" in found(GOOD)["cpu-manager"][0][1]
    static = found(GOOD, {"cpuManagerPolicy": "static"}, "48500m")["cpu-manager"][0]
    assert static[0] is Level.WARNING
    assert "no CPUs are pinned" in static[1]
    assert found(GOOD, {"cpuManagerPolicy": "static"}, "48")["cpu-manager"][0][0] is Level.OK


def test_the_probe_runs_on_this_machine() -> None:
    """The script is real sh: here it finds at least the kernel, the memory, and its own sections."""
    done = subprocess.run(["sh", "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    read = sections(done.stdout.splitlines())
    assert list(read) == list(SECTIONS)
    assert read["meminfo"][0].startswith("MemTotal")
    assert "Linux" in read["kernel"][0]
    diagnose(read, None, "1")


def test_the_archive_holds_what_it_says_and_a_cluster_that_is_gone_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("LEVIATHAN_API_KEY", "sk-secret")
    out = tmp_path / "x.tar.gz"
    assert leviathan(["support", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "missing: engine.log: not to be had: no kubeconfig found" in said
    assert out.stat().st_mode & 0o077 == 0
    with tarfile.open(out) as archive:
        texts = {Path(each.name).name: archive.extractfile(each).read().decode() for each in archive}  # type: ignore[union-attr]
    assert set(texts) == {"README.txt", *ABOUT}
    assert json.loads(texts["site.json"])["site"]["cluster"]["node"] == "talos-u8k-rze"
    assert "sk-secret" not in "".join(texts.values())
    assert all(name in texts["README.txt"] for name in ABOUT)


def test_objects_come_without_managed_fields_and_no_secret_is_asked_for(api: ReplayApi, cluster: Cluster) -> None:
    site = load().site
    pod = {"metadata": {"name": "p", "managedFields": [1]}}
    for kind, (path, _) in collections(site).items():
        body = {"kind": "XList", "apiVersion": "v1", "metadata": {}, "items": [pod] if kind == "pods" else []}
        denied = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no nodes for you"}
        api.add("GET", path, Answer(403, denied) if kind == "nodes" else Answer(200, body))
    found = objects(site, cluster)
    assert found["pods"][0]["metadata"] == {"name": "p"}
    assert "no nodes for you" in found["nodes"]
    assert not any("secrets" in each.path for each in api.asked)


def test_an_answer_that_is_not_the_engines_is_not_called_metrics(api: ReplayApi, cluster: Cluster) -> None:
    path = "/api/v1/namespaces/ai-workloads/pods/p:30000/proxy/metrics"
    api.add("GET", path, Answer(403, "denied by a proxy"), Answer(200, "leviathan_ready 1"))
    with pytest.raises(LeviathanError, match=r"no metrics \(p\): 403: .*denied by a proxy.*curl http://.*/metrics"):
        metrics_of(load().site, cluster, "p")
    assert "leviathan_ready 1" in metrics_of(load().site, cluster, "p")


def test_an_archive_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, {"site.json": "{}"}, now=1.0)
    with tarfile.open(tmp_path / "a") as one, tarfile.open(tmp_path / "b") as two:
        assert [(each.name, each.mtime) for each in one] == [(each.name, each.mtime) for each in two]
