"""`leviathan completion`."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from leviathan.cli.options import Invocation, make_command
from leviathan.cli.usage import OneOf
from leviathan.terminal.output import Report

HELP = """Print the completion script for a shell.

\b
Examples:
  eval "$(leviathan completion bash)"
  leviathan completion zsh > ~/.zfunc/_leviathan
  leviathan completion fish > ~/.config/fish/completions/leviathan.fish
"""


@click.argument("shell", type=OneOf(["bash", "zsh", "fish"]))
def completion_command(invocation: Invocation, shell: str) -> int:
    """Print click's completion script, which runs `leviathan` to complete words."""

    def script() -> Report:
        from leviathan.cli.main import cli  # noqa: PLC0415 - cli imports this module

        kind = get_completion_class(shell)
        assert kind is not None
        # ShellComplete's own `source`: that of the bash class runs bash to learn its version.
        text = ShellComplete.source(kind(cli, {}, "leviathan", "_LEVIATHAN_COMPLETE"))
        return Report(text, {"shell": shell, "script": text})

    return invocation.finish(script)


command = make_command("completion", HELP)(completion_command)
