"""The process that renders an unknown chat template: `python3 -m leviathan_engine.model.render_template`.

Writes an empty line when it has started. Reads lines of JSON: first the template's source, then the values of each
rendering. Answers each line with a line: `text`, or `error` and its `kind`. This process limits its own memory; the
parent limits its time and ends it.
"""

import json
import resource
import sys
from collections.abc import Callable
from functools import partial

from jinja2 import Template

from leviathan_engine.model.template_environment import compiled

# Python with Jinja needs about 40 MB of address space; the largest request body is 32 MiB.
MOST_MEMORY = 768 << 20
# Maximum characters of a prompt: more than the largest request body can hold.
MOST_TEXT = 64 << 20


def main() -> int:
    """Runs until the end of stdin."""
    for limit, most in ((resource.RLIMIT_AS, MOST_MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 16)):
        resource.setrlimit(limit, (most, most))
    sys.stdout.write("\n")
    sys.stdout.flush()
    source = json.loads(sys.stdin.readline())
    template: Template | None = None

    def read() -> str:
        nonlocal template
        template, variables = compiled(source)
        return json.dumps(sorted(variables))

    answer(read)
    for line in sys.stdin:
        assert template is not None
        answer(partial(render, template, line))
    return 0


def render(template: Template, line: str) -> str:
    """Returns the text for the values in a line."""
    return template.render(json.loads(line))


def answer(work: Callable[[], str]) -> None:
    """Calls `work` and writes its text or its error."""
    try:
        text = work()
        said = (
            {"text": text}
            if len(text) <= MOST_TEXT
            else {"error": f"its result is too long: {len(text)} characters, at most {MOST_TEXT}"}
        )
    except MemoryError:
        said = {"error": "it uses too much memory"}
    except RecursionError:
        said = {"error": "it is nested too deeply"}
    except Exception as err:  # a template can raise anything
        said = {"error": str(err)[:1000] or type(err).__name__, "kind": type(err).__name__}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
