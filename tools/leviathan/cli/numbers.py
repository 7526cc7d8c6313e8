"""Numbers that are not keys of the site: the error says what is expected, with an example, and what came."""

from typing import Any

import click


def expected(kind: str, low: float, high: float | None, example: float, got: object) -> str:
    """The words for a value that is not a number of this range; `high` is None if there is no upper bound."""
    span = f"of {low:g} or more" if high is None else f"from {low:.9g} to {high:.9g}"
    return f"expected {kind} {span}, such as {example:.9g}, got {got!r}"


class IntegerOption(click.IntRange):
    """An integer from `low` to `high`, or without an upper bound; `example` is one that a user may type."""

    def __init__(self, low: int, high: int | None = None, *, example: int) -> None:
        super().__init__(low, high)
        self.words = low, high, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The integer. Errors: click.BadParameter."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(expected("an integer", *self.words, value), param, ctx)


class NumberOption(click.FloatRange):
    """A number of `low` or more; `example` is one that a user may type."""

    def __init__(self, low: float, *, example: float) -> None:
        super().__init__(low)
        self.words = low, None, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number. Errors: click.BadParameter."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(expected("a number", *self.words, value), param, ctx)
