"""The whole way's small parts: the derived image, and the report."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from e2e.scenarios.errors import WayError
from e2e.scenarios.facts import of_this_run
from e2e.scenarios.happy_path import verified
from e2e.scenarios.image import PLACE, Layout, derive
from e2e.scenarios.picture import Step, timed
from e2e.scenarios.report import Report, cell


def built(folder: Path) -> str:
    """A layout of an image with one layer; its manifest's digest."""
    layout = Layout(folder)
    layout.blob("").mkdir(parents=True)
    config = {
        "config": {"Entrypoint": ["python3"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:x"]},
    }
    manifest = {
        "config": layout.store(json.dumps(config).encode()),
        "layers": [{"mediaType": "m", **layout.store(b"tar")}],
    }
    entry = {"annotations": {"name": "n"}, **layout.store(json.dumps(manifest).encode())}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}), encoding="utf-8")
    (folder / "oci-layout").write_text("{}", encoding="utf-8")
    return str(entry["digest"])


def test_the_derived_image_is_the_built_one_and_a_layer(tmp_path: Path) -> None:
    before = built(tmp_path / "built")
    digest = derive(tmp_path / "built", tmp_path / "derived")
    old, new = Layout(tmp_path / "built"), Layout(tmp_path / "derived")
    assert digest != before
    index = json.loads((new.folder / "index.json").read_bytes())
    assert index["manifests"][0] == {
        "annotations": {"name": "n"},
        "digest": digest,
        "size": new.blob(digest).stat().st_size,
    }
    manifest, original = new.load(digest), old.load(before)
    assert manifest["layers"][:-1] == original["layers"]
    for path in new.blob("").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    config = new.load(manifest["config"]["digest"])
    assert config["config"] == {"Entrypoint": ["python3", "-m", "e2e_cpu"], "Env": ["A=b"]}
    top = new.blob(manifest["layers"][-1]["digest"]).read_bytes()
    assert config["rootfs"]["diff_ids"] == ["sha256:x", "sha256:" + hashlib.sha256(top).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(top)) as tar:
        source = tar.extractfile(f"{PLACE}/__main__.py")
        assert source is not None
        compile(source.read(), "__main__", "exec")


def test_each_blob_is_hashed_against_its_descriptor(tmp_path: Path) -> None:
    digest = built(tmp_path)
    layout = Layout(tmp_path)
    assert verified(layout) == {"manifest": digest, "layers": 1, "bytes of the layers, hashed": 3}
    layer = layout.load(digest)["layers"][0]["digest"]
    for name in (layer, layout.load(digest)["config"]["digest"], digest):
        whole = layout.blob(name).read_bytes()
        layout.blob(name).write_bytes(whole.replace(b"a", b"b", 1))
        with pytest.raises(WayError, match="and its descriptor says"):
            verified(layout)
        layout.blob(name).write_bytes(whole)
    verified(layout)


def test_another_stamp_changes_the_last_layer_alone(tmp_path: Path) -> None:
    built(tmp_path / "built")
    layers = []
    for name, stamp in (("one", ""), ("same", ""), ("two", "2")):
        digest = derive(tmp_path / "built", tmp_path / name, stamp)
        layers.append([item["digest"] for item in Layout(tmp_path / name).load(digest)["layers"]])
    assert layers[0] == layers[1]
    assert layers[0][:-1] == layers[2][:-1]
    assert layers[0][-1] != layers[2][-1]


def test_a_report_says_what_passed_and_what_failed(tmp_path: Path) -> None:
    report = Report({"kernel": "6.1"})
    assert not report.passed  # nothing was shown
    with report.check("one") as seen:
        seen["digest"] = "sha256:1 | 2"
    assert report.passed
    with pytest.raises(ValueError, match="broken"):
        with report.check("two <b>"):
            raise ValueError("broken")
    assert not report.passed
    report.write(tmp_path)
    value = json.loads((tmp_path / "e2e.json").read_text(encoding="utf-8"))
    assert [(check["name"], check["passed"]) for check in value["checks"]] == [("one", True), ("two <b>", False)]
    assert value["checks"][1]["evidence"] == {"error": "ValueError: broken"}
    text = (tmp_path / "e2e.md").read_text(encoding="utf-8")
    assert "**FAILED**" in text
    assert "| one | ✓ | 0.0 |\n| two <b> | ✗ | 0.0 |\n" in text
    assert "### ✓ one\n\n- digest: sha256:1 | 2\n\n### ✗ two <b>\n\n- error: ValueError: broken\n" in text
    picture = ET.fromstring((tmp_path / "e2e.svg").read_text(encoding="utf-8"))
    assert len([node for node in picture if node.tag.endswith("rect")]) == 2


def test_an_attempt_that_fails_is_noted_and_the_run_goes_on(tmp_path: Path) -> None:
    def broken(seen: dict[str, Any]) -> None:
        seen["number"] = 1
        raise ValueError("broken")

    report = Report({}, only="load")
    report.attempt("load: 64 clients", broken)
    report.fault("etcd slow", broken)
    report.fault("engine crashes at load", lambda seen: seen.update(fine=True))
    assert [(one.name, one.passed) for one in report.checks] == [
        ("load: 64 clients", False),
        ("fault: engine crashes at load", True),
    ]
    assert report.checks[0].evidence == {"number": 1, "error": "ValueError: broken"}
    assert report.left_out == ["fault: etcd slow"]
    report.write(tmp_path)
    assert json.loads((tmp_path / "e2e.json").read_text(encoding="utf-8"))["left out"] == ["fault: etcd slow"]
    text = (tmp_path / "e2e.md").read_text(encoding="utf-8")
    assert "**FAILED, of a part: --only load, 1 not run**" in text
    assert "- NOT RUN, left out by --only load: fault: etcd slow" in text


def test_the_facts_name_commit_tree_date_and_what_was_left_out(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    assert str(of_this_run("", tmp_path)["commit"]).startswith("unknown: ")
    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    facts = of_this_run("", tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", str(facts["commit"]))
    assert (facts["tree"], facts["only"]) == ("clean", "everything")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", str(facts["begun"]))
    (tmp_path / "another").write_text("2")
    facts = of_this_run("load", tmp_path)
    assert (facts["tree"], facts["only"]) == ("dirty: 1 files differ from the commit", "load")


def test_a_run_that_did_not_come_to_its_end_has_not_passed(tmp_path: Path) -> None:
    report = Report({})
    with report.check("one"):
        pass
    assert report.passed
    report.ended = "WayError: there is not one running pod"
    assert not report.passed
    report.write(tmp_path)
    assert "- the run did not come to its end: WayError: there is" in (tmp_path / "e2e.md").read_text(encoding="utf-8")


def test_another_picture_lies_beside_the_report(tmp_path: Path) -> None:
    report = Report({})
    report.picture("rollout", "one rollout", timed([Step("pull", 1e9, 1e9 + 3), Step("<load>", 1e9 + 3, 1e9 + 10)]))
    report.write(tmp_path)
    assert "![rollout](e2e-rollout.svg)\n\nAbove: one rollout." in (tmp_path / "e2e.md").read_text(encoding="utf-8")
    drawn = ET.fromstring((tmp_path / "e2e-rollout.svg").read_text(encoding="utf-8"))
    texts = [node.text for node in drawn if node.tag.endswith("text")]
    assert texts[:4] == ["pull", "3.0 s", "<load>", "7.0 s"]
    assert texts[4:] == ["01:46:40.0", "01:46:42.0", "01:46:44.0", "01:46:46.0", "01:46:48.0", "01:46:50.0"]
    widths = [float(node.attrib["width"]) for node in drawn if node.tag.endswith("rect")]
    assert widths[1] == pytest.approx(widths[0] * 7 / 3, rel=0.01)


def test_long_evidence_is_cut_for_the_report() -> None:
    assert cell("a\nb") == "a b"
    assert cell({"a": 1}) == '{"a": 1}'
    assert len(cell("x" * 1000)) == 160


@pytest.mark.parametrize(
    ("required", "status", "says"), [("", 0, "1 skipped"), ("required", 1, "was skipped: no root")]
)
def test_what_is_required_and_skipped_has_failed(tmp_path: Path, required: str, status: int, says: str) -> None:
    (tmp_path / "conftest.py").write_bytes((Path(__file__).parent / "conftest.py").read_bytes())
    (tmp_path / "test_one.py").write_text("import pytest\ndef test_one(): pytest.skip('no root')\n", encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    environ = os.environ | {"LEVIATHAN_E2E": required}
    done = subprocess.run([*words, str(tmp_path)], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, says in done.stdout) == (status, True), done.stdout
