"""The process that renders a chat template nobody knows: `python3 -m leviathan_engine.model.render_template`.

Writes an empty line when it is up. Reads JSON, a line each: the template's source, then the values of each rendering.
Answers each with a line: `text`, or `error` and its `kind`. Its memory is bounded here; its time is the parent's
business, which ends it.
"""

import json
import resource
import sys
from collections.abc import Callable
from functools import partial

from jinja2 import Template

from leviathan_engine.model.template_environment import compiled

# Python with Jinja takes some 40 MB of address space; the longest body is 32 MiB.
MOST_MEMORY = 768 << 20
# Characters of a prompt: more than the longest body can hold.
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
    """The text for the values in a line."""
    return template.render(json.loads(line))


def answer(work: Callable[[], str]) -> None:
    """Does the work and writes its text or its error."""
    try:
        text = work()
        said = {"text": text} if len(text) <= MOST_TEXT else {"error": f"its text has {len(text)} characters"}
    except MemoryError:
        said = {"error": "it takes too much memory"}
    except RecursionError:
        said = {"error": "it is nested too deeply"}
    except Exception as err:  # whatever a template can do
        said = {"error": str(err)[:1000] or type(err).__name__, "kind": type(err).__name__}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
