"""The model gate's parts: log lines that come once, progress of real downloaders, states of pods, the manifest."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leviathan.model.downloaded import ModelError
from leviathan.model.manifest import Manifest, ModelFile, header_of, parse_manifest, read_manifest, safe_name
from leviathan.model.pod import State, main_container, see
from leviathan.model.progress_text import find_progress
from leviathan.model.timestamped_log import Stamped, split
from leviathan.model.verify import differences, verify

HASH = "a" * 64
FILES = (ModelFile("a.gguf", 10, HASH), ModelFile("sub/b.gguf", 20))


# --- lines


def line(second: int, nano: int, text: str) -> str:
    return f"2026-11-23T20:00:{second:02d}.{nano:09d}Z {text}"


def test_a_line_loses_its_time() -> None:
    assert split("2026-11-23T20:00:01.5Z 10 % of it")[1] == "10 % of it"
    assert split("2026-11-23T20:00:01Z ")[1] == ""
    assert split("2026-11-23T22:00:01.000000001+02:00 x")[1] == "x"
    assert split("no time") == (None, "no time")


def test_after_a_break_it_asks_from_a_second_before() -> None:
    lines = Stamped()
    assert lines.since() == ""
    assert lines.take(line(7, 5, "a")) == "a"
    assert lines.since() == "2026-11-23T20:00:06Z"


def test_a_node_with_a_time_of_its_own() -> None:
    lines = Stamped()
    assert lines.take("2026-11-23T22:00:07.5+02:00 a") == "a"
    assert lines.since() == "2026-11-23T20:00:06Z"
    assert lines.take("2026-11-23T22:00:07.5+02:00 a") is None


def test_what_was_there_is_not_given_again() -> None:
    lines = Stamped()
    for raw in (line(7, 1, "a"), line(7, 1, "a"), line(7, 2, "b")):
        assert lines.take(raw) is not None
    lines.since()
    # The same two equal lines again, and a third one: that is new.
    again = [lines.take(raw) for raw in (line(7, 1, "a"), line(7, 1, "a"), line(7, 1, "a"), line(7, 2, "b"))]
    assert again == [None, None, "a", None]
    assert lines.count == 4


def test_out_of_order_lines_are_not_lost() -> None:
    """stdout and stderr are taken down by two writers: a line may stand after one of a later time."""
    lines = Stamped()
    assert lines.take(line(8, 0, "later")) == "later"
    lines.since()
    assert lines.take(line(8, 0, "later")) is None
    assert lines.take(line(7, 9, "earlier")) == "earlier"


def test_a_bar_counts_as_news_only_while_it_grows() -> None:
    lines = Stamped()
    assert lines.grows("10%\r20%")
    assert not lines.grows("10%")
    assert not lines.grows("10%\r20%")
    assert lines.grows("10%\r20%\r30%")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from("ab")), max_size=30),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=6),
)
def test_every_line_comes_once_wherever_it_breaks(
    made: list[tuple[int, int, str]], breaks: list[tuple[float, float]]
) -> None:
    """The node's log grows (times rise, some are equal); each answer is cut somewhere, and the last one is whole."""
    log = [line(second, nano, text) for second, nano, text in sorted(made)]
    lines, heard = Stamped(), []
    for written, cut in [
        *((share, cut) for share, (_, cut) in zip(sorted(b for b, _ in breaks), breaks, strict=True)),
        (1, 1),
    ]:
        since = lines.since()[:-1]
        answer = [raw for raw in log[: round(written * len(log))] if raw[: len(since)] >= since]
        heard += [raw for raw in answer[: round(cut * len(answer))] if lines.take(raw) is not None]
    assert heard == log


# --- progress


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # wget --progress=dot:giga, wget's bar, curl
        ("  32768K ........ ........ ........ ........  8% 85.3M 70m", "8 %"),
        ("model-00001-of-00009.gguf  45%[=====>      ]  20.25G  98.1MB/s    eta 4m 12s", "45 %"),
        (" 12 45.0G   12 5.50G    0     0  91.0M      0  0:08:26  0:01:01  0:07:25 95.1M", None),
        # aria2
        ("[#2089b0 4.0GiB/40GiB(10%) CN:4 DL:115MiB ETA:5m1s]", "10 % (4.29 GB of 42.95 GB)"),
        # rclone
        ("Transferred:   1.5 TiB / 2 TiB, 75%, 90.5 MiB/s, ETA 1h", "75 % (1649.27 GB of 2199.02 GB)"),
        # tqdm, as huggingface-cli has it, rewriting one line
        ("a.gguf:  1%| | 1.0G/48.0G [00:01]\ra.gguf:  45%|####| 21.6G/48.0G [05:00<06:06, 72.0MB/s]", "45 % (21.60 GB"),
        ("downloaded 12.3 of 385.0 GB", "3 % (12.30 GB of 385.00 GB)"),
        ("102400/204800 bytes", "50 % (102.4 kB of 204.8 kB)"),
        ("Fetching 163 files:  12%|#2  | 20/163 [1:02:03<7:23:10]", "12 %"),
        # none of these says how far it is
        ("Connecting to host:443... connected.", None),
        ("v1.2/3 is 250% better", None),
        ("DOWNLOAD COMPLETE", None),
        ("7.0GB/3.0GB", None),
        ("", None),
    ],
)
def test_progress_of_real_downloaders(text: str, shown: str | None) -> None:
    found = find_progress(text)
    assert (found is None) == (shown is None)
    if found is not None and shown is not None:
        assert found.text().startswith(shown)


@given(st.text(alphabet="0123456789.,/% kKMGiBof\r\n", max_size=60))
def test_progress_takes_any_text(text: str) -> None:
    found = find_progress(text)
    assert found is None or 0 <= found.percent <= 100


# --- pods


def pod(status: dict[str, Any], *names: str, **annotations: str) -> dict[str, Any]:
    containers = [{"name": name} for name in names or ("main",)]
    meta = {"name": "p", "uid": "u", "annotations": annotations}
    return {"metadata": meta, "spec": {"containers": containers}, "status": status}


def status(state: dict[str, Any], last: dict[str, Any] | None = None, phase: str = "Running") -> dict[str, Any]:
    mine = {"name": "main", "restartCount": 3, "state": state, "lastState": last or {}}
    return {"phase": phase, "containerStatuses": [mine]}


ENDED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("given", "state", "why"),
    [
        (status({"running": {}}), State.RUNNING, ""),
        (status({"running": {}}, ENDED), State.RUNNING, ""),
        (status({"waiting": {"reason": "CrashLoopBackOff"}}, ENDED), State.LOOPING, "OOMKilled, exit 137"),
        (status({"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}), State.STUCK, "no such tag"),
        (status({"waiting": {"reason": "ContainerCreating"}}), State.PENDING, "ContainerCreating"),
        (status({"waiting": {"reason": "ErrImagePull"}}), State.PENDING, "ErrImagePull"),
        (status(ENDED, phase="Failed"), State.FAILED, "OOMKilled, exit 137"),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, State.FAILED, "Evicted: disk"),
        (status({"terminated": {"exitCode": 0}}, phase="Succeeded"), State.SUCCEEDED, ""),
        ({"phase": "Pending"}, State.PENDING, "not started yet"),
    ],
)
def test_states(given: dict[str, Any], state: State, why: str) -> None:
    seen = see(pod(given))
    assert seen.state is state
    assert why in seen.why


@pytest.mark.parametrize(
    ("policy", "code", "state"),
    [
        ("Always", 0, State.BETWEEN),
        ("Always", 1, State.BETWEEN),
        ("OnFailure", 1, State.BETWEEN),
        ("OnFailure", 0, State.SUCCEEDED),
        ("Never", 0, State.SUCCEEDED),
        ("Never", 1, State.FAILED),
    ],
)
def test_a_container_that_ended_in_a_pod_that_runs_on(policy: str, code: int, state: State) -> None:
    """A sidecar keeps the pod Running; or the kubelet has not started the container again yet."""
    given = pod(status({"terminated": {"exitCode": code, "reason": "Error"}}))
    given["spec"]["restartPolicy"] = policy
    assert see(given).state is state


def test_the_scheduler_is_quoted() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    assert see(pod({"phase": "Pending", "conditions": [condition]})).why == "Unschedulable: 0/1 nodes"
    assert see(None).state is State.MISSING


def test_the_container_that_counts() -> None:
    named = {"kubectl.kubernetes.io/default-container": "load"}
    assert main_container(pod({}, "side", "load")) == "side"
    assert main_container(pod({}, "side", "load", **named)) == "load"
    assert main_container(pod({}, "side", **named)) == "side"


# --- manifest


def test_manifest_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    for header in ("", '{"format":"leviathan-gguf-header/1"}'):
        path.write_text(Manifest(FILES, header).json())
        assert read_manifest(path) == Manifest(FILES, header)
    assert header_of(path.read_text()) == header
    assert header_of('{"format":"leviathan-gguf-header/1"}') == ""
    with pytest.raises(ModelError, match="has no GGUF header"):
        header_of(Manifest(FILES).json())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "leviathan-model/2"}, 'expected an object with "format"'),
        ({"files": []}, "expected a list of files, got []"),
        ({"files": None}, "expected a list of files, got None"),
        ({"extra": 1}, "the manifest has unknown keys: extra"),
        ({"files": [{"name": "a", "size": 1}, {"name": "a", "size": 2}]}, "a is listed twice"),
        ({"files": [{"name": "../a", "size": 1}]}, "expected a path below"),
        ({"files": [{"name": "/a", "size": 1}]}, "expected a path below"),
        ({"files": [{"name": "a//b", "size": 1}]}, "expected a path below"),
        ({"files": [{"name": "a\n", "size": 1}]}, "expected a path below"),
        ({"files": [{"name": "a", "size": -1}]}, "expected a number of bytes"),
        ({"files": [{"name": "a", "size": True}]}, "expected a number of bytes"),
        ({"files": [{"name": "a", "size": 1, "sha256": "A" * 64}]}, "expected 64 hexadecimal digits"),
        ({"files": [{"name": "a", "size": 1, "sha1": "x"}]}, "has unknown keys: sha1"),
        ({"files": ["a"]}, "expected an object with name and size, got 'a'"),
    ],
)
def test_a_wrong_manifest_is_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    good = json.loads(Manifest(FILES).json())
    assert parse_manifest(json.dumps(good)).files == FILES
    path = tmp_path / "m.json"
    path.write_text(json.dumps(good | change))
    with pytest.raises(ModelError) as caught:
        read_manifest(path)
    assert words in caught.value.why
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_no_json_is_no_manifest(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(ModelError, match="the file is not a model manifest"):
        read_manifest(path)
    with pytest.raises(ModelError, match="cannot read the model manifest"):
        read_manifest(tmp_path / "none.json")


@given(st.text(max_size=20))
def test_safe_names_stay_below_the_folder(name: str) -> None:
    if safe_name(name):
        assert (Path("/model") / name).resolve().is_relative_to("/model")


# --- comparing

GOOD = {"a.gguf": 10, "sub/b.gguf": 20, "README.md": 5}


@pytest.mark.parametrize(
    ("sizes", "hashes", "words"),
    [
        (GOOD, {}, []),
        (GOOD, {"a.gguf": HASH}, []),
        ({"a.gguf": 10}, {}, ["sub/b.gguf is missing"]),
        (GOOD | {"a.gguf": 4}, {}, ["a.gguf: expected 10 bytes, got 4 (6 B too short)"]),
        (GOOD | {"a.gguf": 14}, {"a.gguf": HASH}, ["a.gguf: expected 10 bytes, got 14 (4 B too long)"]),
        (GOOD, {"a.gguf": "b" * 64}, [f"a.gguf: expected SHA-256 {'a' * 12}…, got {'b' * 12}…"]),
        (GOOD | {"c.gguf": 1}, {}, ["c.gguf is not in the manifest"]),
        ({}, {}, ["a.gguf is missing", "sub/b.gguf is missing"]),
    ],
)
def test_differences(sizes: dict[str, int], hashes: dict[str, str], words: list[str]) -> None:
    assert differences(Manifest(FILES), sizes, hashes) == words


def test_verify_says_what_was_compared() -> None:
    done = verify(Manifest(FILES), "m.json", GOOD, {"a.gguf": HASH}, "/models")
    assert done.text() == "2 files, 30 B, match m.json, 1 of them by SHA-256 (/models)"
    assert verify(Manifest(FILES), "m.json", GOOD, {}, "/models").text().endswith("by name and size (/models)")
    many = Manifest(tuple(ModelFile(f"{n}.gguf", 1) for n in range(20)))
    with pytest.raises(ModelError, match="differs from the manifest in 20 files") as caught:
        verify(many, "m.json", {}, {}, "/models")
    assert "and 12 more" in caught.value.why
