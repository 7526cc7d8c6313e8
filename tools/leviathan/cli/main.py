"""The command line. Commands are imported when they are run, so that `--help` answers at once."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import click

from leviathan import __version__
from leviathan.cli import early_options as given
from leviathan.errors import EXIT_CODES, ExitCode, LeviathanError, UsageError
from leviathan.site.keys import nearest
from leviathan.terminal.output import Console, emit, failed, interrupted

#: name → what it does; the module `leviathan.commands.NAME` has it as `command`.
COMMANDS = {
    "deploy": "Do all of it: preflight, push, model, apply, rollout, smoke.",
    "preflight": "Find everything that would stop a deployment.",
    "push": "Bring the image into the registry.",
    "model": "Wait until the model is downloaded, and compare its files.",
    "tags": "List the tags that the registry has.",
    "plan": "Say which layers go to which GPU, and what to expect.",
    "render": "Print the manifests with the site's values.",
    "diff": "Show what apply would change; exits 2 when there is something.",
    "apply": "Bring the manifests into the cluster.",
    "rollout": "Wait until the engine is healthy, or say why not.",
    "status": "Print what runs, whether it answers, and what is in the way.",
    "top": "Show requests and rates of the running endpoint.",
    "logs": "Print or follow the engine's log.",
    "smoke": "Ask the endpoint and judge its answers.",
    "bench": "Measure how fast the endpoint answers, one client and several.",
    "doctor": "Look at the node: CPUs, memory, PCIe, cards, kernel lines.",
    "support": "Write one archive for whoever helps.",
    "rollback": "Have an earlier image run again.",
    "delete": "Delete what was applied, and nothing else.",
    "init": "Write a first site file from what the cluster shows.",
    "site": "Print the site's values and where each comes from.",
    "completion": "Print the completion script for a shell.",
}
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {text}" for code, text in EXIT_CODES.items())


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a deployment."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(f"leviathan.commands.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; the nearest one is in the error."""
        if args and args[0] not in COMMANDS:
            near = nearest(args[0], COMMANDS)
            raise click.UsageError(f"no such command: {args[0]}{f' (nearest: {near})' if near else ''}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "leviathan",
    cls=LazyGroup,
    epilog=EPILOG,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="leviathan", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Take the built image to a healthy DeepSeek-V3 endpoint on the cluster, and say why when it cannot.

    Every command reads one site file (`leviathan site --default`), prints its result to stdout and its talk to stderr.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(argv: Sequence[str]) -> int:
    """Run the command line `argv` (without the program's name) and return its exit status.

    What ends before a command has begun, a wrong command line or a signal, is reported as its failure would be.
    """
    console = Console()
    try:
        status = cli.main(list(argv), prog_name="leviathan", standalone_mode=False)
        return int(status or 0)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "leviathan"
        usage = UsageError(error.format_message().rstrip("."), remedy=f"{path} --help")
        console.error(usage)
        return report(usage, argv, console)
    except (KeyboardInterrupt, click.Abort):
        console.clear()
        console.say("stopped")
        return report(interrupted(), argv, console)
    except BrokenPipeError:
        return ExitCode.FAILED


def report(error: LeviathanError, argv: Sequence[str], console: Console) -> int:
    """Write an error where `argv` wants the result, and return its exit status."""
    path = given.result_file(argv)
    try:
        emit(failed(error), as_json=given.as_json(argv), result_file=Path(path) if path else None)
    except LeviathanError as unwritten:
        console.error(unwritten)
    except BrokenPipeError:
        pass
    return error.exit_code
