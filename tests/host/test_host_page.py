"""The page at `/` in a real browser: Debian's Chromium, headless, with a real front process and letters for a model.

With LEVIATHAN_SCREENSHOTS=FOLDER the pictures of docs/page are taken on the way.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser

sys.path.append(str(Path(__file__).resolve().parents[1] / "leviathan_engine"))

from deepseek_templates import template_source
from front_process import SERVED, FrontProcess

from leviathan_engine import wire
from leviathan_engine.model.tool_format import CALLS_BEGIN, CALLS_END, ToolFormat

ESCAPE, ENTER = ("Escape", 27), ("Enter", 13)
PICTURES = os.environ.get("LEVIATHAN_SCREENSHOTS", "")
LAST = "document.querySelector('#log article:last-child')"
MARKDOWN = """\
# Title

Some **bold**, *slanted*, `code <b>` and a [link](https://example.org/a).

1. one
2. two
   - inner

| a | b |
|---|---|
| 1 | 2 |

```python
print("<i>")
```

> quoted
"""
HOSTILE = """\
<img src=x onerror="document.title='bad'"> <script>document.title='bad'</script>
[a](javascript:document.title='bad') [b](data:text/html,x) ![c](https://evil.example/p.png)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), template_source("V3.1"), LEVIATHAN_API_KEY="secret")
    yield process
    process.close()


@pytest.fixture
def page(browser: Browser, front: FrontProcess) -> Iterator[Browser]:
    """The page with its model, the right key, and nothing kept from the test before."""
    serve(front)
    browser.size(1000, 700)
    browser.scheme("light")
    browser.open(front.url + "/")
    browser.run("localStorage.clear(); sessionStorage.setItem('leviathan.key', 'secret')")
    browser.run("localStorage.setItem('leviathan.temperature', '0')")  # at which the letters come in their order
    browser.open(front.url + "/?again")
    browser.wait("!document.getElementById('send').disabled")
    browser.problems.clear()
    yield browser
    front.letters.delay = 0.0
    assert browser.problems == []


served: list[FrontProcess] = []


def serve(front: FrontProcess) -> None:
    """The model answers from now on."""
    if front not in served:
        front.serve(max_new_tokens=400, cache_lens=4000, max_prompt=3000)
        served.append(front)


def say(front: FrontProcess, text: str) -> None:
    """What the model answers from now on: one token a byte."""
    front.letters.says(text)


def send(page: Browser, text: str) -> None:
    page.run("document.getElementById('message').focus()")
    page.type(text)
    page.press(*ENTER)


def picture(page: Browser, name: str) -> None:
    if PICTURES:
        (Path(PICTURES) / f"{name}.png").write_bytes(page.picture())


def test_while_the_model_loads(browser: Browser, front: FrontProcess) -> None:
    """Progress and estimate; nothing can be sent yet."""
    browser.size(1000, 700)
    browser.scheme("light")
    browser.open(front.url + "/")
    front.link.send(wire.model_message(replace(SERVED, folder=str(front.folder), total_bytes=400 << 30)))
    front.link.send({"kind": "phase", "phase": "loading the model"})
    front.link.send({"kind": "progress", "layers": 24, "bytes": 160 << 30})
    browser.wait("document.getElementById('load-text').textContent.includes('layer 24 of 61')")
    text = browser.run("document.getElementById('load-text').textContent")
    assert text.startswith("40 % of 400.0 GiB, layer 24 of 61, about ")
    assert browser.run("document.getElementById('load-bar').value") == 40
    assert browser.run("document.getElementById('phase').textContent") == "loading the model"
    assert browser.run("document.getElementById('send').disabled")
    picture(browser, "loading")
    serve(front)
    browser.wait("document.getElementById('load').hidden && !document.getElementById('send').disabled")
    # /health is 503 until then, which the browser writes down.
    assert [one for one in browser.problems if "503" not in one] == []


def test_chat_stop_and_reload(page: Browser, front: FrontProcess) -> None:
    say(front, MARKDOWN)
    send(page, "Say something.")
    page.wait(f"{LAST}.className === 'assistant' && {LAST}.querySelector('blockquote')")
    page.wait("document.getElementById('stop').hidden")
    html = page.run(f"{LAST}.innerHTML")
    for part in (
        "<h4>Title</h4>",
        "<strong>bold</strong>",
        "<em>slanted</em>",
        "<code>code &lt;b&gt;</code>",
        '<a href="https://example.org/a" target="_blank" rel="noopener noreferrer">link</a>',
        '<ol start="1"><li>one</li><li>two<ul><li>inner</li></ul></li></ol>',
        "<td>2</td>",
        '<code data-language="python">print("&lt;i&gt;")</code>',
    ):
        assert part in html, html
    assert "tokens read, " in html
    picture(page, "chat")
    page.scheme("dark")
    picture(page, "dark")
    page.scheme("light")

    front.letters.delay = 0.05
    say(front, "word " * 60)
    send(page, "Continue.")
    page.wait(f"{LAST}.textContent.includes('word word')")
    assert not page.run("document.getElementById('stop').hidden")
    ended = len(front.letters.ended)
    page.press(*ESCAPE)
    page.wait("document.getElementById('stop').hidden")
    front.wait(lambda: len(front.letters.ended) > ended)
    text = page.run(f"{LAST}.textContent")
    assert text.endswith("stopped")
    assert text.count("word") < 60
    before = page.run("document.getElementById('log').textContent")

    page.open(front.url + "/?reloaded")
    assert page.run("document.getElementById('log').textContent") == before
    assert page.run("document.querySelector('#talks [aria-current]').textContent") == "Say something."
    assert page.run("document.getElementById('key').value") == "secret"


def test_a_hostile_answer_stays_text(page: Browser, front: FrontProcess) -> None:
    say(front, HOSTILE)
    send(page, "x")
    page.wait("document.getElementById('stop').hidden && document.querySelector('.figures')")
    assert page.run("document.title") == "Leviathan"
    assert page.run("document.querySelectorAll('#log img, #log script, #log iframe').length") == 0
    assert page.run("[...document.querySelectorAll('#log a')].map((a) => a.protocol)") == ["https:"]
    assert "<img src=x onerror" in page.run(f"{LAST}.textContent")
    assert not [address for address in page.addresses if not address.startswith((front.url, "about:"))]


def test_a_policy_stops_what_a_script_might_add(page: Browser) -> None:
    """The control of the test above: the browser itself refuses it."""
    with pytest.raises(AssertionError, match="TrustedHTML"):
        page.run("document.getElementById('log').innerHTML = '<b>x</b>'")
    page.run("document.body.append(Object.assign(document.createElement('style'), {textContent: 'body{color:red}'}))")
    assert page.run("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert any("Content Security Policy" in problem for problem in page.problems)
    page.problems.clear()


def test_reasoning_is_folded_and_tool_calls_are_shown(page: Browser, front: FrontProcess) -> None:
    """A model that thinks and calls; the result is typed in, and the model answers it."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    page.run(f"document.getElementById('tools').value = {json.dumps(json.dumps([tool]))}")
    call = CALLS_BEGIN + ToolFormat.PLAIN.call("add", '{"a":2,"b":2}') + CALLS_END
    say(front, f"<think>Two and **two**.</think>I add.{call}")
    send(page, "2+2?")
    page.wait(f"document.getElementById('stop').hidden && {LAST}.querySelector('.call')")
    assert page.run(f"{LAST}.querySelector('.thought').open") is False
    assert page.run(f"{LAST}.querySelector('.thought strong').textContent") == "two"
    assert page.run(f"{LAST}.querySelector('.call summary').textContent") == "Tool call: add"
    assert '"a": 2' in page.run(f"{LAST}.querySelector('.call pre').textContent")
    assert page.run("document.getElementById('notice').textContent") == "Type the result of add and send it."
    picture(page, "tools")
    say(front, "It is four.")
    send(page, "4")
    page.wait(f"{LAST}.textContent.includes('It is four.')")
    roles = page.run("[...document.querySelectorAll('#log article')].map((one) => one.className)")
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_a_wrong_key_is_an_error_that_says_what_to_do(page: Browser) -> None:
    page.run("document.getElementById('key').value = 'wrong'")
    send(page, "x")
    page.wait("document.querySelector('article.wrong')")
    assert "Enter the API key under Settings" in page.run("document.querySelector('article.wrong').textContent")
    assert any("401" in problem for problem in page.problems)
    page.problems.clear()


def test_the_state(page: Browser) -> None:
    page.wait("document.getElementById('state').textContent.includes('Waiting')")
    rows: dict[str, Any] = page.run(
        "Object.fromEntries([...document.querySelectorAll('#state dt')]"
        ".map((term) => [term.textContent, term.nextSibling.textContent]))"
    )
    assert rows["Waiting"] == "0"
    assert rows["GPU 0"] == "5 bytes of 7 bytes"
    assert rows["Pages in use"] == "25.0 %"
    assert "Tokens/s" in rows
    assert "Engine's RAM" in rows


def test_dark_and_on_a_phone(page: Browser, front: FrontProcess) -> None:
    """The system's colours are followed, nothing is wider than the window, and keys and labels are there."""
    light = page.run("getComputedStyle(document.body).backgroundColor")
    page.scheme("dark")
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
    page.size(390, 780, phone=True)
    page.open(front.url + "/?phone")
    page.wait("!document.getElementById('send').disabled")
    say(front, MARKDOWN)
    send(page, "On a phone: " + "long " * 30)
    page.wait(f"document.getElementById('stop').hidden && {LAST}.querySelector('.figures')")
    assert page.run("document.documentElement.scrollWidth") <= 390
    assert page.run("document.getElementById('send').getBoundingClientRect().bottom") <= 780
    assert page.run("[...document.querySelectorAll('input, textarea')].every((one) => one.labels.length === 1)")
    picture(page, "phone-dark")


def test_the_keyboard_reaches_everything(page: Browser) -> None:
    page.run("document.activeElement.blur()")
    seen = set()
    for _ in range(40):
        page.press("Tab", 9)
        seen.add(page.run("document.activeElement.id || document.activeElement.tagName"))
    assert {"SUMMARY", "new", "key", "system", "temperature", "tools", "log", "message", "send"} <= seen
