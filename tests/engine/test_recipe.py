"""The recipe's stages on small inputs: what they refuse, and that nothing of the machine gets into their results."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

RECIPE = Path(__file__).resolve().parent.parent.parent / "nix" / "ktransformers"
pytestmark = pytest.mark.skipif(not RECIPE.is_dir(), reason="runs in the repository")

FILES = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: ktransformers\nVersion: 9.1\nRequires-Dist: torch>=2.3\n"
    "Requires-Dist: langchain>=0.2\n\nText.\n",
    "LICENSE": "free\n",
    "ktransformers/__init__.py": '__version__ = "9.1"\n',
    "ktransformers/__pycache__/x.cpython-312.pyc": "stale",
    "ktransformers/configs/config.yaml": "a: 1\n",
    "ktransformers/tests/test.py": "1\n",
    "ktransformers/ktransformers_ext/cuda/setup.py": "1\n",
    "ktransformers/ktransformers_ext/ext.cpp": "int x;\n",
}
PATCH = """Why.

--- a/LICENSE
+++ b/LICENSE
@@ -1 +1 @@
-free
+libre
"""


def build(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(RECIPE / "build.py"), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def sdist(folder: Path, extra: tarfile.TarInfo | None = None) -> Path:
    path = folder / "ktransformers-9.1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"ktransformers-9.1/{name}")
            member.size, member.mode = len(text), 0o600
            archive.addfile(member, io.BytesIO(text.encode()))
        if extra is not None:
            archive.addfile(extra, io.BytesIO())
    return path


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "one.patch").write_text(PATCH)
    return tmp_path / "patches"


@pytest.fixture
def source(tmp_path: Path, patches: Path) -> Path:
    out = tmp_path / "source"
    done = build("source", "--sdist", str(sdist(tmp_path)), "--patches", str(patches), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    return out


def test_source_is_patched_and_without_byte_code(source: Path) -> None:
    assert (source / "LICENSE").read_text() == "libre\n"
    assert not list(source.rglob("*.pyc"))
    assert (source / "ktransformers" / "__init__.py").stat().st_mode & 0o777 == 0o644
    assert (source / "ktransformers" / "tests" / "test.py").is_file()


def test_a_patch_that_does_not_fit_is_an_error(tmp_path: Path, patches: Path) -> None:
    (patches / "two.patch").write_text(PATCH)
    done = build("source", "--sdist", str(sdist(tmp_path)), "--patches", str(patches), "--out", str(tmp_path / "s"))
    assert done.returncode == 1
    assert "build.py source: patch ended with 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["ktransformers-9.1/../../etc/x", "ktransformers-9.1/link"])
def test_members_that_leave_the_tree_are_refused(tmp_path: Path, patches: Path, name: str) -> None:
    extra = tarfile.TarInfo(name)
    if name.endswith("link"):
        extra.type, extra.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = sdist(tmp_path, extra)
    done = build("source", "--sdist", str(path), "--patches", str(patches), "--out", str(tmp_path / "s"))
    assert done.returncode == 1
    assert f"{name} is no plain file" in done.stderr


def test_python_stage(source: Path, tmp_path: Path) -> None:
    """Two runs into two folders give the same files, and RECORD lists them."""
    for name in ("a", "b"):
        done = build("python", "--source", str(source), "--march", "znver4 x86-64-v3", "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert done.stdout == "9.1+cu128torch29\n"
    first = {
        path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.*") if path.is_file()
    }
    second = {
        path.relative_to(tmp_path / "b"): path.read_bytes() for path in (tmp_path / "b").rglob("*.*") if path.is_file()
    }
    assert first == second
    names = {str(path) for path in first}
    assert {"cpuinfer_ext.py", "flash_attn/__init__.py", "ktransformers/configs/config.yaml"} <= names
    assert not {name for name in names if "tests" in name or "/cuda/" in name or name.endswith((".cpp", ".pyc"))}
    order = json.loads((tmp_path / "a/ktransformers_ext/cpu/march.json").read_text())
    assert list(order) == ["znver4", "x86-64-v3"]
    info = tmp_path / "a" / "ktransformers-9.1+cu128torch29.dist-info"
    metadata = (info / "METADATA").read_text()
    assert "Version: 9.1+cu128torch29\n" in metadata
    assert "Requires-Dist: torch>=2.3" in metadata
    assert "langchain" not in metadata
    record = (info / "RECORD").read_text()
    assert "ktransformers/__init__.py,sha256=" in record
    assert str(tmp_path) not in record


@pytest.mark.parametrize("march", ["native", "znver9"])
@pytest.mark.parametrize("stage", ["cpu", "python"])
def test_unknown_march(source: Path, tmp_path: Path, stage: str, march: str) -> None:
    done = build(stage, "--source", str(source), "--march", march, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert f"march '{march}' is not known: choose from x86-64-v2, x86-64-v3" in done.stderr


def test_missing_toolkit(source: Path, tmp_path: Path) -> None:
    words = ["--source", str(source), "--cuda-home", str(tmp_path), "--out", str(tmp_path / "out")]
    cpu = build("cpu", "--march", "znver4", *words)
    assert cpu.returncode == 1
    assert "no include/cuda_runtime.h: name the CUDA toolkit with --cuda-home" in cpu.stderr
    cuda = build("cuda", "--archs", "9.0a", *words)
    assert cuda.returncode == 1
    assert "no bin/nvcc: name the CUDA toolkit with --cuda-home" in cuda.stderr


def test_a_missing_program_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cuda_runtime.h").touch()
    argv = [sys.executable, str(RECIPE / "build.py"), "cpu", "--source", str(source), "--march", "znver4"]
    argv += ["--cuda-home", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": str(tmp_path)}, timeout=60, check=False)
    assert done.returncode == 1
    assert "cmake: no such program on PATH" in done.stderr
