"""A template that changes what was said before is found out, with DeepSeek's way of doing it."""

import json
from pathlib import Path

import pytest
from front_process import TEMPLATE, write_folder

from leviathan_engine.model.chat_prompt import Prompts, load
from leviathan_engine.model.chat_turns import notes

USER = "{% for m in messages %}{% if m['role'] == 'user' %}<u>{{ m['content'] }}<a>"
END = "{% endif %}{% endfor %}"
KEEPS = USER + "{% else %}{{ m['content'] }}{{ eos_token }}" + END
DROPS = USER + "{% else %}{{ m['content'].split('</think>')[-1] }}{{ eos_token }}" + END
STRIPS = USER + "{% else %} {{ m['content'] | trim }}{{ eos_token }}" + END
REFUSES = USER + "{% else %}{{ raise_exception('one question only') }}" + END


def prompts(folder: Path, template: str) -> Prompts:
    write_folder(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"chat_template": template}), encoding="utf-8")
    return load(folder)


@pytest.mark.parametrize("template", [KEEPS, REFUSES])
def test_nothing_is_said_of_templates_that_change_nothing(tmp_path: Path, template: str) -> None:
    assert notes(prompts(tmp_path, template)) == []


def test_reasoning_that_is_dropped_is_named(tmp_path: Path) -> None:
    [text] = notes(prompts(tmp_path, DROPS))
    assert "renders an answer with reasoning differently when another turn follows" in text


def test_every_answer_that_is_changed_is_named(tmp_path: Path) -> None:
    [text] = notes(prompts(tmp_path, STRIPS))
    assert "renders an answer and an answer with reasoning differently" in text


def test_the_tests_own_template_keeps_its_turns(tmp_path: Path) -> None:
    assert notes(prompts(tmp_path, TEMPLATE)) == []
