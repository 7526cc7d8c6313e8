"""What the engine knew of a prompt: in `usage`, in `timings`, in /metrics; and whose prompts may share it."""

from pathlib import Path

import httpx
import pytest
from front_process import FrontProcess

KEYS = "one sk-one-one-one-one\ntwo sk-two-two-two-two\n"
QUESTION = {"model": "letters", "prompt": "abcdef", "max_tokens": 2, "temperature": 0}


@pytest.mark.parametrize("cached", [0, 4])
def test_tokens_that_were_known_are_counted(front: FrontProcess, cached: int) -> None:
    front.letters.cached = cached
    answer = httpx.post(front.url + "/v1/completions", json=QUESTION, timeout=30).json()
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": cached}
    prompt = answer["usage"]["prompt_tokens"]
    assert prompt >= 6
    assert (answer["timings"]["cache_n"], answer["timings"]["prompt_n"]) == (cached, prompt - cached)


def test_metrics_count_what_was_known(front: FrontProcess) -> None:
    def hits() -> float:
        lines = httpx.get(front.url + "/metrics", timeout=30).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:prefix_cache_hits_total{"))

    before = hits()
    front.letters.cached = 3
    httpx.post(front.url + "/v1/completions", json=QUESTION, timeout=30)
    assert hits() == before + 3


def test_metrics_say_how_far_a_prompt_is(front: FrontProcess) -> None:
    """Read in two chunks, held before the second: the figures of the first, and none once it is read or given up."""
    names = ("leviathan_prompt_read_tokens", "leviathan_prompt_read_total_tokens", "leviathan_prompt_read_ratio")

    def shown() -> list[float]:
        return [front.metric(name) for name in names]

    assert shown() == [0, 0, 1]
    front.letters.chunks = 2
    try:
        for read_on in (True, False):
            front.letters.go.clear()
            with httpx.stream(
                "POST", front.url + "/v1/completions", json=QUESTION | {"stream": True}, timeout=30
            ) as answer:
                front.wait(lambda: front.metric(names[1]) > 0)
                whole = len(front.letters.jobs[-1].ids)
                assert shown() == [whole // 2, whole, whole // 2 / whole]
                if read_on:
                    front.letters.go.set()
                    assert "[DONE]" in answer.read().decode()
            front.wait(lambda: shown() == [0, 0, 1])
    finally:
        front.letters.go.set()
        front.letters.chunks = 1


def test_work_for_quiet_moments_does_not_delay_a_prompt(front: FrontProcess) -> None:
    """Background work runs after an answer until all is done, and stops when a prompt arrives."""
    front.letters.rests = 20
    httpx.post(front.url + "/v1/completions", json=QUESTION, timeout=30)
    front.wait(lambda: front.letters.rests <= 0)
    front.letters.rests = 1 << 30
    try:
        for _ in range(3):
            assert httpx.post(front.url + "/v1/completions", json=QUESTION, timeout=5).status_code == 200
        assert front.letters.rests < 1 << 30
    finally:
        front.letters.rests = 0


def test_without_keys_all_share(front: FrontProcess) -> None:
    httpx.post(front.url + "/v1/completions", json=QUESTION, headers={"authorization": "Bearer x"}, timeout=30)
    assert front.letters.jobs[-1].scope == ""


def test_each_key_has_a_scope_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEYS, encoding="utf-8")
    process = FrontProcess(tmp_path, LEVIATHAN_API_KEY_FILE=str(tmp_path / "keys"))
    process.serve()
    try:
        for key in ("sk-one-one-one-one", "sk-two-two-two-two", "sk-one-one-one-one"):
            headers = {"authorization": f"Bearer {key}"}
            answer = httpx.post(process.url + "/v1/completions", json=QUESTION, headers=headers, timeout=30)
            assert answer.status_code == 200
        scopes = [job.scope for job in process.letters.jobs]
        assert scopes[0] == scopes[2] != scopes[1]
        assert all(scopes)
    finally:
        process.close()
