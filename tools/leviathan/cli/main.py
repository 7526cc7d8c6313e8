"""The command line. A command is imported when it runs, so `--help` stays fast."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import click

from leviathan import __version__
from leviathan.cli import early_options as given
from leviathan.cli.usage import usage_words
from leviathan.errors import EXIT_CODES, ExitCode, LeviathanError, UsageError
from leviathan.site.keys import nearest
from leviathan.terminal.output import Console, emit, failed, interrupted

#: name → summary for `--help`. The module `leviathan.commands.NAME` defines the command as `command`.
COMMANDS = {
    "deploy": "Run all phases: preflight, push, model, apply, rollout, smoke.",
    "preflight": "Check for everything that would stop a deployment.",
    "push": "Upload the image to the registry.",
    "model": "Wait for the model download, and verify its files.",
    "tags": "List the image's tags in the registry.",
    "plan": "Show which layers go on which GPU, and the expected speed.",
    "render": "Print the Kubernetes manifests for this site.",
    "diff": "Show what apply would change; exits with 2 if anything differs.",
    "apply": "Apply the manifests to the cluster.",
    "rollout": "Wait until the engine is healthy, or explain why it is not.",
    "status": "Show the deployment's state, health, speed and problems.",
    "top": "Show live requests, token rates and cache use.",
    "logs": "Print or follow the engine's log.",
    "smoke": "Run smoke tests against the endpoint.",
    "bench": "Benchmark the endpoint with one and several clients.",
    "doctor": "Check the node's CPUs, memory, PCIe links, GPUs and kernel log.",
    "support": "Collect status, logs and metrics into one archive.",
    "rollback": "Roll back to an earlier image.",
    "delete": "Delete the objects that apply created.",
    "init": "Create a site file from what the cluster reports.",
    "site": "Print the site's values and where each one comes from.",
    "completion": "Print the completion script for a shell.",
}
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {text}" for code, text in EXIT_CODES.items())


class LazyGroup(click.Group):
    """A group that knows the names of its commands, and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of a deployment."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"leviathan.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names. The error for an unknown name suggests the nearest one."""
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
    """Deploy the built image as a healthy DeepSeek-V3 endpoint on a Kubernetes cluster, and explain what fails.

    All commands read the same site file; `leviathan init` creates one. Results go to stdout, progress and errors to
    stderr.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(argv: Sequence[str]) -> int:
    """Run the command line `argv` (without the program's name) and return its exit status.

    A wrong command line, or a signal before the command has started, is reported in the same way as a failed command.
    """
    console = Console()
    try:
        status = cli.main(list(argv), prog_name="leviathan", standalone_mode=False)
        return int(status or 0)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        # The parser's own errors do not know their command.
        name = argv[0] if argv and argv[0] in COMMANDS else ""
        usage = UsageError(usage_words(error), remedy=f"leviathan {name}".rstrip() + " --help")
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
