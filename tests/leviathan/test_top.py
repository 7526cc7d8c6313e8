"""top: the real front's metrics as a line, rates between two looks, and what is not an engine."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from smoke_support import MODEL, FrontProcess

from leviathan.cli.main import run as leviathan
from leviathan.rollout.show.metrics_line import COLUMNS, HEAD, Look, line, look, sums


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    process = FrontProcess(tmp_path_factory.mktemp("front"))
    process.serve()
    yield process
    process.close()


def test_the_front_is_shown(front: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert leviathan(["top", "--url", front.url, "--times", "1", "--json"]) == 0
    before = json.loads(capsys.readouterr().out)["metrics"]
    assert before["leviathan_ready"] == 1
    body = {"model": MODEL, "messages": [{"role": "user", "content": "abc"}], "max_tokens": 6}
    first = look(front.url, lambda: 10.0)
    assert httpx.post(f"{front.url}/v1/chat/completions", json=body, timeout=30).status_code == 200
    second = look(front.url, lambda: 12.0)
    made = second.metrics["leviathan_generated_tokens_total"] - first.metrics["leviathan_generated_tokens_total"]
    cells = line(second, first).split()
    assert cells[0] == "yes"
    assert cells[3] == f"{made / 2:.1f}" != "0.0"
    assert leviathan(["top", "--url", front.url, "--times", "2", "--every", "0.1"]) == 0
    said = capsys.readouterr()
    assert HEAD in said.out
    assert "yes" in said.err


def test_a_line_by_hand() -> None:
    text = 'leviathan_ready 0.0\nleviathan_load_ratio 0.42\nleviathan_requests_total{path="/v1",status="200"} 2\n'
    text += 'leviathan_requests_total{path="/v1",status="500"} 1\n# HELP x y\nnonsense\nleviathan_running NaN\n'
    found = sums(text)
    assert found["leviathan_requests_total"] == 3
    assert line(Look(sums("leviathan_ready 0\nleviathan_load_ratio 0.42"), 1.0), None).startswith("      42 %")
    assert len(HEAD.split()) >= len(COLUMNS)
    reading = "leviathan_ready 1\nleviathan_prompt_read_tokens 512\nleviathan_prompt_read_total_tokens 2048"
    assert line(Look(sums(reading), 1.0), None).split()[5:7] == ["25", "%"]


def test_what_is_not_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert leviathan(["top", "--url", "http://127.0.0.1:9", "--times", "1"]) == 1
    assert "cannot read the engine's metrics (http://127.0.0.1:9/metrics)" in capsys.readouterr().err
