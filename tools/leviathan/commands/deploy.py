"""`leviathan deploy`."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.cli.usage import OneOf
from leviathan.deploy.phases import NAMES
from leviathan.terminal.output import Report, write_atomically

HELP = """Deploy the built image: run the phases preflight, push, model, apply, rollout and smoke.

Each phase is also a separate command (leviathan push --help, ...). A second run changes nothing. If a phase fails or is
stopped with Ctrl-C, the exit status is that of the phase, and the last line is the command that resumes from there.

\b
Examples:
  leviathan deploy
  leviathan deploy --dry-run
  leviathan deploy --from apply --rollback-on-failure
  leviathan deploy --skip model --until rollout --result-file deploy.json
"""
PHASE = OneOf(NAMES)


@click.option("--from", "first", type=PHASE, default=NAMES[0], help="Start with this phase.")
@click.option("--until", "last", type=PHASE, default=NAMES[-1], help="Stop after this phase.")
@click.option("--skip", type=PHASE, multiple=True, help="Skip this phase; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Show what push and apply would change, but change nothing.")
@click.option(
    "--rollback-on-failure", is_flag=True, help="If rollout or smoke fails, roll back to the last image that passed."
)
def deploy_command(
    invocation: Invocation, first: str, last: str, skip: tuple[str, ...], dry_run: bool, rollback_on_failure: bool
) -> int:
    """Run the phases."""
    flags = [("--dry-run", dry_run), ("--rollback-on-failure", rollback_on_failure), ("--json", invocation.as_json)]
    tail = [*(() if last == NAMES[-1] else ("--until", last)), *(word for name in skip for word in ("--skip", name))]
    tail += [flag for flag, given in flags if given]

    def keep(state: Mapping[str, Any]) -> None:
        if invocation.result_file is not None:
            write_atomically(invocation.result_file, json.dumps({"ok": False, **state}, indent=2) + "\n")

    def deployed() -> Report:
        from leviathan.deploy.phase_sequence import chosen, deploy  # noqa: PLC0415
        from leviathan.deploy.phases import Work  # noqa: PLC0415

        phases = chosen(first, last, skip)
        site = invocation.load_site().site
        pushes = any(phase.name == "push" for phase in phases)
        work = Work(site, os.environ, invocation.console, dry_run, rollback_on_failure, pushes)
        done = deploy(work, phases, resume=lambda name: command_line(invocation, name, tail), keep=keep)
        return Report(done.text(), done.data())

    return invocation.finish(deployed)


def command_line(invocation: Invocation, phase: str, tail: Sequence[str]) -> str:
    """The command that resumes from `phase` with the same site and flags."""
    words = ["leviathan", "deploy", "--from", phase, *tail]
    for option, value in (("--site", invocation.site_file), ("--result-file", invocation.result_file)):
        words += [option, str(value)] if value is not None else []
    settings = dict(setting.split("=", 1) for setting in invocation.settings) | dict(invocation.named)
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return shlex.join(words)


command = make_command("deploy", HELP)(deploy_command)
