"""The Jinja environment that transformers 4.43 uses for chat templates, without transformers.

Jinja's immutable sandbox, blocks trimmed, loop controls, `raise_exception`, `strftime_now`, `tojson` with its keywords,
and the `generation` block.
"""

import json
import time
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class GenerationBlock(Extension):
    """The block `{% generation %}…{% endgeneration %}`, which marks answers for training: renders its contents."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns the nodes of the contents."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compiled(source: str) -> tuple[Template, frozenset[str]]:
    """Compiles a template; returns it and the names of its variables. Errors: jinja2.TemplateError.

    Jinja evaluates constant expressions here, so compiling a hostile template may not terminate.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.globals |= {"raise_exception": _raise, "strftime_now": time.strftime}
    environment.filters["tojson"] = _tojson
    variables = meta.find_undeclared_variables(environment.parse(source))
    return environment.from_string(source), frozenset(variables)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
