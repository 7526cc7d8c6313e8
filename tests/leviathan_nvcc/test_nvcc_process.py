"""Running tools: order, parallelism, failures, and an end to everything."""

import io
import sys
import time
from pathlib import Path

import pytest

from leviathan_nvcc.errors import NvccError, ToolFailed
from leviathan_nvcc.files import publish
from leviathan_nvcc.process import Job, Runner


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def test_output_comes_back_and_is_said_once() -> None:
    stderr = io.StringIO()
    runner = Runner(2, stderr)
    code = "import sys; print('warning: x\\n1 warning generated when compiling for', sys.argv[1], file=sys.stderr)"
    said = runner.all([Job(python(code, name)) for name in ("host.", "sm_90.", "sm_90.")])
    assert said[0] == "warning: x\n1 warning generated when compiling for host.\n"
    assert stderr.getvalue() == "warning: x\n"


def test_results_keep_their_order() -> None:
    runner = Runner(3, io.StringIO())
    code = "import sys, time; time.sleep(float(sys.argv[1])); print(sys.argv[1])"
    delays = ["0.3", "0.0", "0.1"]
    assert runner.all([Job(python(code, delay)) for delay in delays]) == [f"{one}\n" for one in delays]


def test_a_failure_keeps_its_status_and_its_words() -> None:
    stderr = io.StringIO()
    with pytest.raises(ToolFailed) as caught:
        Runner(1, stderr).run(python("import sys; print('why'); sys.exit(3)"), quiet=lambda text: "")
    assert (caught.value.code, stderr.getvalue()) == (3, "why\n")
    with pytest.raises(ToolFailed) as caught:
        Runner(1, stderr).run(python("import os; os.kill(os.getpid(), 9)"))
    assert caught.value.code == 137


def test_one_failure_ends_the_others() -> None:
    runner = Runner(2, io.StringIO())
    start = time.monotonic()
    slow = Job(python("import time; time.sleep(60)"))
    with pytest.raises(ToolFailed) as caught:
        runner.all([slow, Job(python("import sys; sys.exit(5)"))])
    assert caught.value.code == 5
    assert time.monotonic() - start < 30


def test_nothing_starts_after_the_end() -> None:
    runner = Runner(1, io.StringIO())
    runner.stop()
    with pytest.raises(ToolFailed):
        runner.run(python("pass"))


def test_commands_are_shown_and_a_dry_run_runs_none(tmp_path: Path) -> None:
    stderr = io.StringIO()
    runner = Runner(1, stderr, dry=True)
    made = tmp_path / "a b"
    assert runner.all([Job(["touch", str(made)])]) == [""]
    assert stderr.getvalue() == f"#$ touch '{made}'\n"
    assert not made.exists()
    Runner(1, stderr, show=True).run(["touch", str(made)])
    assert made.exists()


def test_a_tool_that_is_not_there() -> None:
    with pytest.raises(NvccError, match="Could not start /does/not/exist: No such file or directory"):
        Runner(1, io.StringIO()).run(["/does/not/exist"])


def test_outputs_are_replaced_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "made", tmp_path / "out.o"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    publish(source, str(target))
    assert target.read_bytes() == b"new"
    publish(source, "/dev/null")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out.o"]


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    source = tmp_path / "made"
    source.touch()
    target = tmp_path / "no" / "out.o"
    with pytest.raises(NvccError, match=f"Could not write '{target}': No such file or directory"):
        publish(source, str(target))
