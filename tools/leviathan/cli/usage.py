"""The words for a wrong command line: `FLAG: expected X, got Y`, in place of click's."""

import click

from leviathan.site.keys import nearest


def usage_words(error: click.ClickException) -> str:
    """What is wrong with the command line, in one line without a full stop."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.NoSuchOption):
        near = nearest(error.option_name, _options(ctx))
        return f"no such option: {error.option_name}{f' (nearest: {near})' if near else ''}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{_name(error.param)}: {_value_words(error, error.param)}".rstrip(".")
    if isinstance(error, click.BadOptionUsage) and "requires an argument" in error.message:
        return f"{error.option_name}: expected a value"
    extra = error.message.partition("unexpected extra argument")[2]
    if extra:
        return f"expected no further argument, got {extra.strip('s ()').split()[0]!r}"
    return error.format_message().rstrip(".")


def _value_words(error: click.BadParameter, param: click.Parameter) -> str:
    missing = isinstance(error, click.MissingParameter)
    if not isinstance(param.type, click.Choice):
        return "expected a value" if missing else error.message
    *first, last = map(str, param.type.choices)
    expected = f"expected {', '.join(first)} or {last}"
    return expected if missing else f"{expected}, got {error.message.partition(' is not one of ')[0]}"


def _name(param: click.Parameter) -> str:
    return param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name


def _options(ctx: click.Context | None) -> list[str]:
    return [] if ctx is None else [name for param in ctx.command.params for name in param.opts if name[:2] == "--"]
