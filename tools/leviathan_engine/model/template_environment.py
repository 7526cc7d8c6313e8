"""Jinja as transformers 4.43 sets it up for chat templates, without transformers.

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
    """`{% generation %}…{% endgeneration %}`, with which training marks answers: its contents, as they are."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes of the contents."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compiled(source: str) -> tuple[Template, frozenset[str]]:
    """The template and the names of the variables that it reads. Errors: jinja2.TemplateError.

    Jinja does the arithmetic on constants already here, so a hostile template need not come to an end.
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
