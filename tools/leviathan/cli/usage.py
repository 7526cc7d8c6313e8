"""The words for a wrong command line: `FLAG: expected X, got Y`, in place of click's."""

from typing import Any

import click


class OneOf(click.Choice[str]):
    """One of several words."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """The words for another value."""
        return f"{self._expected()}, got {value!r}"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """The words for no value."""
        return self._expected()

    def _expected(self) -> str:
        *first, last = self.choices
        return f"expected {', '.join(first)} or {last}"


def usage_words(error: click.ClickException) -> str:
    """What is wrong with the command line, in one line without a full stop."""
    if isinstance(error, click.NoSuchOption):
        near = f" (nearest: {error.possibilities[0]})" if error.possibilities else ""
        return f"no such option: {error.option_name}{near}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        expected = error.param.type.get_missing_message(error.param, error.ctx) or "expected a value"
        return f"{_name(error.param)}: {expected}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{_name(error.param)}: {error.message}".rstrip(".")
    if isinstance(error, click.BadOptionUsage) and "requires an argument" in error.message:
        return f"{error.option_name}: expected a value"
    if "unexpected extra argument" in error.message:
        words = error.message.partition("(")[2].removesuffix(")")
        return f"expected no further argument, got {words!r}"
    return error.format_message().rstrip(".")


def _name(param: click.Parameter) -> str:
    return param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name
