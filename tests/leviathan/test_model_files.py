"""The model's files: in the pod, by commands that really run there, or in a local folder; and the command itself."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.log_api import NAME, SPACE, LogApi
from model_support import DONE, joined, recorded, site
from push_support import TOOLS, Talk
from tiny_gguf import write_tiny

from leviathan.cluster.client import ClusterError
from leviathan.model.downloaded import ModelError
from leviathan.model.manifest import Manifest, ModelFile, read_manifest
from leviathan.model.model_phase import run
from leviathan.model.remote import find_probe
from leviathan.placement import load_model
from leviathan.terminal.output import Console

CONTENT = {"part-1.gguf": b"a" * 1000, "sub folder/part-2.gguf": b"b" * 2000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder: one file is a link, as download caches have them."""
    found = tmp_path / "disk" / "model"
    (found / "sub folder").mkdir(parents=True)
    (tmp_path / "disk" / "blob").write_bytes(CONTENT["part-1.gguf"])
    (found / "part-1.gguf").symlink_to("../blob")
    (found / "sub folder" / "part-2.gguf").write_bytes(CONTENT["sub folder/part-2.gguf"])
    (found / "README.md").write_text("read me")
    return found


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    files = tuple(ModelFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items())
    path = tmp_path / "model.json"
    path.write_text(Manifest(files).json())
    return path


def compare(api: LogApi, home: Path, *, hashed: bool = False, **named: str) -> Any:
    wanted = site(**named)
    return run(wanted, lambda: joined(api, home, wanted), Console(Talk()), hashed=hashed)


def finished() -> LogApi:
    api = LogApi(recorded("running"))
    api.write(DONE)
    return api


@pytest.mark.parametrize("hashed", [False, True])
def test_the_files_in_the_pod_are_compared(hashed: bool, folder: Path, manifest: Path, tmp_path: Path) -> None:
    api = finished()
    with api.serve():
        done = compare(api, tmp_path, hashed=hashed, model__manifest=str(manifest), model__folder=str(folder))
    how = "2 of them by SHA-256" if hashed else "by name and size"
    assert done.text().splitlines()[1] == f"2 files, 3.0 kB, match {manifest}, {how} ({folder} in {SPACE}/{NAME})"
    assert done.data()["verified"]["hashed"] == (2 if hashed else 0)
    assert {container for _, container, _ in api.commands} == {"download"}


def test_a_changed_file_in_the_pod_is_found(folder: Path, manifest: Path, tmp_path: Path) -> None:
    named: dict[str, Any] = {"model__manifest": str(manifest), "model__folder": str(folder)}
    (folder / "sub folder" / "part-2.gguf").write_bytes(b"c" * 2000)
    api = finished()
    with api.serve():
        compare(api, tmp_path, **named)  # the size is right
        with pytest.raises(ModelError, match="expected SHA-256"):
            compare(api, tmp_path, hashed=True, **named)
        (folder / "part-1.gguf").unlink()
        with pytest.raises(ModelError, match=r"part-1\.gguf is missing"):
            compare(api, tmp_path, **named)


def test_a_folder_that_is_not_in_the_pod(manifest: Path, tmp_path: Path) -> None:
    api = finished()
    with api.serve(), pytest.raises(ModelError) as caught:
        compare(api, tmp_path, model__manifest=str(manifest), model__folder=str(tmp_path / "none"))
    assert "none" in caught.value.why
    assert "--set model.folder=FOLDER" in caught.value.remedy


def test_no_right_to_run_a_command(manifest: Path, tmp_path: Path) -> None:
    api = finished()
    api.statuses = [200, 403]
    with api.serve(), pytest.raises(ModelError, match="this kubeconfig may not exec into pods") as caught:
        compare(api, tmp_path, model__manifest=str(manifest))
    assert "auth can-i get pods --subresource=exec" in caught.value.remedy


def test_the_engine_lends_its_eyes_when_the_download_is_over(folder: Path, manifest: Path, tmp_path: Path) -> None:
    api = LogApi(recorded("succeeded"))
    api.ended = True
    api.write(DONE)
    wanted = site()
    with api.serve():
        with pytest.raises(ModelError, match="there is no running pod to read the model's files with") as caught:
            compare(api, tmp_path, model__manifest=str(manifest))
        assert "--set model.manifest=" in caught.value.remedy
        engine = json.loads(json.dumps(recorded("running")))
        engine["metadata"]["name"] = "cortex-leviathan-abc"
        api.engine = engine
        probe = find_probe(joined(api, tmp_path, wanted), wanted)
    assert (probe.pod, probe.container, probe.folder) == ("cortex-leviathan-abc", "engine", wanted.engine.model_path)


def test_without_a_manifest_nothing_is_compared(tmp_path: Path) -> None:
    api = finished()
    with api.serve():
        done = compare(api, tmp_path)
        assert done.text().endswith("files not compared: model.manifest is not set")
        assert done.data()["verified"] is None
        with pytest.raises(ModelError, match="there is no manifest to compare the files with"):
            compare(api, tmp_path, hashed=True)
    assert not api.commands


def test_a_cluster_that_is_away_ends_the_phase_with_its_status(tmp_path: Path) -> None:
    with finished().serve() as api:
        api.kubeconfig(tmp_path)
    with pytest.raises(ClusterError) as caught:
        compare(api, tmp_path)
    assert caught.value.exit_code == 5


# --- the command


def leviathan(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leviathan", "model", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "HOME": str(home), **environ},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_waits(tmp_path: Path) -> None:
    api = finished()
    with api.serve():
        config = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
        done = leviathan(tmp_path, "--pod-namespace", SPACE, "--json", **config)
        api.pod = None
        gone = leviathan(tmp_path, "--pod-namespace", SPACE, "--result-file", "r.json", **config)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["downloaded"]["how"] == "already done"
    assert gone.returncode == 5
    assert gone.stderr.splitlines()[-1].startswith(
        f"error: the pod that downloads the model does not exist ({SPACE}/{NAME})"
    )
    assert json.loads((tmp_path / "r.json").read_text())["error"]["exit_code"] == 5


def test_the_command_compares_a_local_folder_without_a_cluster(folder: Path, manifest: Path, tmp_path: Path) -> None:
    where = ("--folder", str(folder), "--manifest", str(manifest))
    done = leviathan(tmp_path, *where, "--sha256")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 files, 3.0 kB, match {manifest}, 2 of them by SHA-256 ({folder})\n"
    (folder / "extra.gguf").write_bytes(b"")
    wrong = leviathan(tmp_path, *where)
    assert wrong.returncode == 5
    assert "extra.gguf is not in the manifest" in wrong.stderr
    assert leviathan(tmp_path, "--write-manifest", "m.json").returncode == 2
    assert leviathan(tmp_path, "--folder", str(tmp_path / "none"), "--manifest", str(manifest)).returncode == 5
    broken = leviathan(tmp_path, "--folder", str(folder), "--write-manifest", "m.json")
    assert broken.returncode == 5  # these are not GGUF files, and a manifest of them would be worse than none
    assert not (tmp_path / "m.json").exists()


def test_a_written_manifest_is_a_plan_and_a_comparison(tmp_path: Path) -> None:
    """From the files to the manifest, from it to the plan, and back to the files: one changed byte is found."""
    folder = write_tiny(tmp_path / "tiny")
    (folder / "README.md").write_text("not the model")
    written = leviathan(tmp_path, "--folder", str(folder), "--write-manifest", "m.json", "--sha256", "--json")
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["files"] == 1
    [file] = read_manifest(tmp_path / "m.json").files
    data = (folder / "tiny.gguf").read_bytes()
    assert file == ModelFile("tiny.gguf", len(data), hashlib.sha256(data).hexdigest())
    assert load_model(tmp_path / "m.json").tensors == load_model(folder).tensors
    same = ("--folder", str(folder), "--manifest", "m.json")
    assert leviathan(tmp_path, *same, "--sha256").returncode == 0
    (folder / "tiny.gguf").write_bytes(data[:-1] + b"\x01")
    assert leviathan(tmp_path, *same).returncode == 0
    wrong = leviathan(tmp_path, *same, "--sha256")
    assert wrong.returncode == 5
    assert "tiny.gguf: expected SHA-256" in wrong.stderr
    (folder / "tiny.gguf").write_bytes(data[:-1])
    assert "(1 B too short)" in leviathan(tmp_path, *same).stderr
