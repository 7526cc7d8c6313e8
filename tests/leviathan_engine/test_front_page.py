"""The page at `/`: one document, and a policy that allows its own scripts alone. In a browser: tests/host."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from front_process import FrontProcess

from leviathan_engine.front.page import FOLDER, assemble


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Response]:
    """The page as a browser gets it while the model loads, with a key configured: the page itself needs none."""
    front = FrontProcess(tmp_path_factory.mktemp("front"), LEVIATHAN_API_KEY="secret")
    try:
        yield httpx.get(front.url + "/")
    finally:
        front.close()


def test_the_policy_names_the_scripts_and_styles_by_their_hashes(answer: httpx.Response) -> None:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    for kind in ("script", "style"):
        inside = re.findall(f"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside]
        assert policy[f"{kind}-src"].split() == [f"'sha256-{digest}'" for digest in digests]
        assert len(digests) == len(list(FOLDER.glob("*.js" if kind == "script" else "*.css")))


def test_the_page_names_no_other_address(answer: httpx.Response) -> None:
    """Neither to load from nor to send to: every address in it is relative, or part of the check of links."""
    assert not re.findall(
        r"(?:src|href|action|poster|srcset)\s*=", re.sub(r"<(script|style)>.*?</\1>", "", answer.text, flags=re.DOTALL)
    )
    assert re.findall(r"(?:https?|wss?)://", answer.text) == []
    assert re.findall(r"@import|url\(", answer.text) == []


def test_no_script_turns_text_into_html() -> None:
    """The browser forbids it too (trusted types); here it is seen without one."""
    for path in FOLDER.glob("*.js"):
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert word not in path.read_text(), f"{path.name}: {word}"


def test_a_script_that_would_end_its_element_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<script src="a.js"></script>')
    (tmp_path / "a.js").write_text("1")
    assert assemble(tmp_path).body == b"<script>1</script>"
    (tmp_path / "a.js").write_text('"</script>"')
    with pytest.raises(ValueError, match=r"a\.js contains </script"):
        assemble(tmp_path)
