"""Runs the phases one after the other; a failure or a stop names the command that continues from there."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from leviathan.deploy.phases import NAMES, PHASES, Phase, Result, Work
from leviathan.deploy.record import Deployed, DeployError, Record, State, facts
from leviathan.errors import ExitCode, LeviathanError, UsageError

#: Gets the state of a deployment under way, for the result file.
Keep = Callable[[Mapping[str, Any]], None]
INTERNAL = "run it again with --debug and report what it prints"


def chosen(first: str, last: str, skip: Sequence[str]) -> tuple[Phase, ...]:
    """The phases from `first` to `last` without those of `skip`. Errors: UsageError when none is left."""
    begin, end = NAMES.index(first), NAMES.index(last)
    found = tuple(phase for phase in PHASES[begin : end + 1] if phase.name not in skip)
    if not found:
        raise UsageError(
            "no phase is left to run",
            why=f"--from {first} --until {last}" + "".join(f" --skip {name}" for name in skip),
            remedy=f"the order is {', '.join(NAMES)}",
        )
    return found


def deploy(
    work: Work, phases: Sequence[Phase], *, resume: Callable[[str], str], keep: Keep = lambda state: None
) -> Deployed:
    """Run `phases` in their order.

    Arguments: `resume` returns the command that continues from a phase; `keep` gets the state before and after each
    phase.
    Errors: DeployError with the exit status of the phase that failed, or of an interruption.
    """
    console, began = work.console, work.console.clock()
    records = {name: Record(name, State.AHEAD if name in _names(phases) else State.SKIPPED) for name in NAMES}

    def note(record: Record) -> None:
        records[record.name] = record
        keep({**facts(tuple(records.values()), console.clock() - began), "resume": resume(record.name)})

    for number, phase in enumerate(phases, 1):
        record, started = Record(phase.name, State.RUNNING, _now()), console.clock()
        if work.dry_run and not phase.dry:
            note(replace(record, state=State.SKIPPED, summary="a dry run does not wait for it"))
            continue
        note(record)
        console.say(f"deploy: {phase.name} ({number} of {len(phases)})")
        try:
            result = phase.run(work)
        except BaseException as problem:
            error = _error(problem, phase)
            state = State.STOPPED if error.exit_code is ExitCode.INTERRUPTED else State.FAILED
            seconds = console.clock() - started
            records[phase.name] = replace(
                record, state=state, seconds=seconds, summary=error.what, result=error.report()
            )
            took = console.clock() - began
            # Where an earlier image came back, this one has to be applied again.
            back = work.rollback_on_failure and phase.code in (ExitCode.ROLLOUT, ExitCode.SMOKE)
            command = resume("apply" if back else phase.name)
            failure = DeployError(error, tuple(records.values()), seconds=took, command=command)
            raise failure from problem
        record = _done(record, phase, result, console.clock() - started, dry_run=work.dry_run)
        note(record)
        console.say(f"deploy: {record.line()}")
    return Deployed(tuple(records.values()), console.clock() - began, work.dry_run)


def _names(phases: Sequence[Phase]) -> list[str]:
    return [phase.name for phase in phases]


def _done(record: Record, phase: Phase, result: Result, seconds: float, *, dry_run: bool) -> Record:
    data = result.data()
    state = phase.idle
    if data.get("changed"):
        state = State.WOULD if dry_run else State.CHANGED
    lines = result.text().splitlines() or [""]
    place = min(phase.line, len(lines) - 1)
    summary = lines[place].strip().removeprefix(f"{State.UNCHANGED.value}: ")
    return replace(record, state=state, seconds=seconds, summary=summary, result=data)


def _error(problem: BaseException, phase: Phase) -> LeviathanError:
    """The error of a phase, with the phase's exit status."""
    if isinstance(problem, KeyboardInterrupt):
        stopped = LeviathanError("stopped", why="what is done so far stays as it is")
        stopped.exit_code = ExitCode.INTERRUPTED
        return stopped
    if not isinstance(problem, LeviathanError):
        if not isinstance(problem, Exception):
            raise problem
        return LeviathanError("internal error", why=f"{type(problem).__name__}: {problem}", remedy=INTERNAL)
    if problem.exit_code not in (ExitCode.USAGE, ExitCode.INTERRUPTED):
        problem.exit_code = phase.code
    return problem


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
