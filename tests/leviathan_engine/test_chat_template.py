"""Chat templates are programs of somebody else's: what they can do, how long it may take, and whose they are."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bad_clients import chat
from front_process import TEMPLATE, FrontProcess, write_folder
from jinja2 import TemplateError

from leviathan_engine.errors import EngineError, UsageError
from leviathan_engine.launcher.flags import parse
from leviathan_engine.model import chat_prompt, template_process
from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.model.known_templates import KNOWN, describe_template, digest
from leviathan_engine.model.rendered_chat import ChatPrompt
from leviathan_engine.model.template_environment import compiled
from leviathan_engine.model.template_process import PATIENCE, Apart, open_template

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
SECONDS = 1.0
# The sandbox stops these; what they would do is in the name.
STOPPED = {
    "class walk": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr filter": "{{ (''|attr('__class__')).x.y }}",
    "format string": "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "globals": "{{ raise_exception.__globals__['json'] }}",
    "open files": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "mutation": "{{ messages.append(1) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "long range": "{% for i in range(1000000000) %}{% endfor %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "division": "{{ messages|length / 0 }}",
    "memory by width": "{{ messages[0].content|center(3000000000) }}",
    "memory by doubling": "{% set ns=namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(40) %}{% set ns.x=ns.x+ns.x %}"
    "{% endfor %}{{ ns.x }}",
}
ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a large number": "{{ (messages|length + 8) ** 99999999 }}",
}


@pytest.fixture
def apart() -> Iterator[list[Apart]]:
    opened: list[Apart] = []
    yield opened
    for one in opened:
        one.close()


def text_of(prompts: Prompts) -> str:
    """The prompt of MESSAGES."""
    return prompts.rendered(ChatPrompt(tuple(MESSAGES))).text


def opened(source: str, apart: list[Apart], seconds: float = SECONDS) -> Apart:
    apart.append(Apart(source, seconds))
    return apart[-1]


@pytest.mark.parametrize("source", STOPPED.values(), ids=STOPPED.keys())
def test_what_is_stopped_is_an_error_of_the_request(source: str, apart: list[Apart]) -> None:
    """The process is still there, and renders the next one as if nothing had been."""
    template = opened(source, apart, 20 * SECONDS)
    template.open()
    with pytest.raises((TemplateError, TypeError), match=r"^(?!it timed out|the process)"):
        template.render({"messages": MESSAGES})
    assert template._process is not None
    assert template._process.poll() is None


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_does_not_end_is_ended(source: str, apart: list[Apart]) -> None:
    """And after a few times it is not tried again."""
    template = opened(source, apart)
    begin = time.monotonic()
    for _ in range(PATIENCE):
        with pytest.raises(TemplateError, match="timed out"):
            template.render({"messages": MESSAGES})
    assert PATIENCE * SECONDS <= time.monotonic() - begin < PATIENCE * (SECONDS + 5)
    begin = time.monotonic()
    with pytest.raises(TemplateError, match="not tried again"):
        template.render({"messages": MESSAGES})
    assert time.monotonic() - begin < SECONDS / 2


def test_a_slow_start_is_not_the_templates_fault(
    apart: list[Apart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold disk, a busy machine: the time for reading a template begins when its process is up."""
    (tmp_path / "sitecustomize.py").write_text(f"import time; time.sleep({template_process.READ * SECONDS + 1})")
    monkeypatch.syspath_prepend(str(tmp_path))
    template = opened("x{{ messages|length }}", apart)
    assert template.open() == {"messages"}
    template.close()
    monkeypatch.setattr(template_process, "START_SECONDS", 0.5)
    with pytest.raises(TemplateError, match=r"^the process that reads it did not start within 0\.5 s: is this machine"):
        template.open()


def test_constants_are_folded_apart_too(apart: list[Apart]) -> None:
    """Jinja does arithmetic on constants when it reads a template."""
    with pytest.raises(TemplateError, match=r"timed out|memory"):
        opened("{{ 9 ** 999999999 }}", apart).open()


def test_apart_renders_what_it_would_render_here(apart: list[Apart]) -> None:
    template = opened(TEMPLATE, apart, 20 * SECONDS)
    values = {
        "messages": [{"role": "user", "content": "h\u00e4\n\ud800"}],
        "add_generation_prompt": True,
        "bos_token": "<bos>",
    }
    assert template.render(values) == compiled(TEMPLATE)[0].render(values)
    with pytest.raises(TemplateError, match=r"^system comes first$"):
        template.render({"messages": [*MESSAGES, {"role": "system", "content": "x"}]})
    assert template.render(values)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        template.render(values)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.002, times


def test_a_process_that_is_gone_is_started_again(apart: list[Apart]) -> None:
    template = opened("x{{ messages|length }}", apart, 20 * SECONDS)
    assert template.render({"messages": MESSAGES}) == "x1"
    assert template._process is not None
    template._process.kill()
    template._process.wait()
    with pytest.raises(TemplateError):
        template.render({"messages": MESSAGES})
    assert template.render({"messages": MESSAGES}) == "x1"


def test_which_template_it_is_is_said(apart: list[Apart]) -> None:
    source = "{{ messages }}"
    assert describe_template(source).endswith("unknown, and therefore rendered in a process of its own")
    assert digest(source) in describe_template(source)
    assert all(len(known) == 64 and int(known, 16) for known in KNOWN)
    with pytest.raises(TemplateError, match="at most"):
        open_template("x" * (1 << 21))


def test_a_known_template_is_rendered_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(KNOWN, digest(TEMPLATE), "Letters")
    prompts = chat_prompt.load(write_folder(tmp_path))
    assert prompts.template is not None
    assert not isinstance(prompts.template.template, Apart)
    assert describe_template(TEMPLATE).endswith("the one of Letters")
    monkeypatch.delitem(KNOWN, digest(TEMPLATE))
    other = chat_prompt.load(write_folder(tmp_path))
    assert other.template is not None
    assert isinstance(other.template.template, Apart)
    assert text_of(other) == text_of(prompts) == "<bos><user>hi<assistant>"
    other.close()


def test_a_file_in_the_folder_goes_first(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "chat_template.jinja").write_text("mine {{ messages|length }}")
    prompts = chat_prompt.load(folder)
    assert text_of(prompts) == "mine 1"
    (folder / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(EngineError, match="use another one with --chat_template"):
        chat_prompt.load(folder)


def test_the_flag_takes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ messages }}")
    flags = ["--model_path", str(tmp_path), "--chat_template"]
    assert parse([*flags, str(path)]).chat_template == "{{ messages }}"
    assert parse(flags[:2]).chat_template is None
    (tmp_path / "bad").write_bytes(b"\xff")
    (tmp_path / "empty").write_text(" \n")
    for name, says in (("absent", "No such file"), ("bad", "not UTF-8"), ("empty", "got only white space")):
        with pytest.raises(UsageError, match=says):
            parse([*flags, str(tmp_path / name)])
    with pytest.raises(UsageError, match=r"chat_template\.jinja"):
        parse([*flags, str(path), "--config_path", str(tmp_path)])


def test_an_endless_template_holds_nobody_else(tmp_path: Path) -> None:
    """/health and completions are answered meanwhile; the chats are refused."""
    front = FrontProcess(tmp_path)
    try:
        config = front.folder / "tokenizer_config.json"
        document = json.loads(config.read_text()) | {"chat_template": ENDLESS["nested loops"]}
        config.write_text(json.dumps(document))
        front.serve()
        with httpx.Client(timeout=60) as client:
            answer = client.post(front.url + CHAT, json=chat(1, stream=False))
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "chat_template_refuses")
            completion = {"model": "letters", "prompt": "x", "max_tokens": 1}
            assert client.post(front.url + TEXT, json=completion).status_code == 200
            assert client.get(front.url + "/health").status_code == 200
    finally:
        front.close()
