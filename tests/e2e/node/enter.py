"""`python -m e2e.node.enter PLAN STATUS-FD LIFELINE-FD NETNS-FD`: one container's process, and who looks after it.

Makes the namespaces, forks the container's first process, and waits. Standard library only, so that it starts fast.
To the status descriptor it writes JSON lines: {"started": pid} or {"failed": text}, then {"exit": code, "signal": n}.
From the lifeline it reads signal numbers as bytes; when the agent's end is closed, the container is killed.
"""

import json
import os
import select
import signal
import sys
from pathlib import Path

from . import kernel, rootfs
from .container import ALL_CAPABILITIES, Plan

START_FAILED = 128  # containerd's exit code of a container that could not be started


def main(argv: list[str]) -> int:
    """The whole life of a container. Returns 0: how it ended is told through the status descriptor."""
    plan, status, lifeline, network = Plan.read(Path(argv[0])), int(argv[1]), int(argv[2]), int(argv[3])
    os.set_inheritable(status, False)
    os.set_inheritable(lifeline, False)
    try:
        for name in plan.groups:
            Path(name).write_text("0")
        if network >= 0:
            kernel.setns(network, kernel.CLONE_NEWNET)
            os.close(network)
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID)
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        root = rootfs.overlay(plan)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
    except OSError as err:
        _say(status, failed=f"error during container setup: {err.filename or 'setup'}: {err.strerror}")
        return 0
    if child == 0:
        _first_process(plan, root, writer)
    os.close(writer)
    with os.fdopen(reader) as stream:
        failure = stream.read()
    if failure:
        os.waitpid(child, 0)
        _say(status, failed=failure)
        return 0
    _say(status, started=child)
    _watch(child, status, lifeline)
    return 0


def _first_process(plan: Plan, root: Path, writer: int) -> None:
    """In the child, which is process 1 of its namespace: everything up to the exec; never returns."""
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        _name(plan.hostname)
        rootfs.enter(root, plan)
        _become(plan)
        os.chdir(plan.folder)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        _execute(plan)
    except OSError as err:
        text = f"error during container init: {err.filename or 'start'}: {(err.strerror or str(err)).lower()}"
        os.write(writer, text.encode())
    except BaseException as err:
        os.write(writer, f"error during container init: {err}".encode())
    os._exit(START_FAILED)


def _name(hostname: str) -> None:
    import socket  # noqa: PLC0415 - only here: the parent has no use for it

    socket.sethostname(hostname)


def _become(plan: Plan) -> None:
    """The user, and what it may do. A user other than root keeps no capabilities, as after runc's exec."""
    os.setgroups(plan.supplementary)
    if plan.capabilities != ALL_CAPABILITIES:
        kernel.limit_capabilities(plan.capabilities)
    os.setgid(plan.gid)
    if plan.uid != 0:
        os.setuid(plan.uid)
    elif plan.capabilities != ALL_CAPABILITIES:
        kernel.set_capabilities(plan.capabilities)
    # Changing the user clears it.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if plan.no_new_privileges:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _execute(plan: Plan) -> None:
    name, environment = plan.argv[0], plan.environment
    if "/" in name:
        os.execve(name, plan.argv, environment)
    for folder in environment.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(":"):
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            os.execve(path, plan.argv, environment)
    raise RuntimeError(f'exec: "{name}": executable file not found in $PATH')


def _watch(child: int, status: int, lifeline: int) -> None:
    """Until the container ends: pass signals on, and kill it when the agent is gone."""
    process = os.pidfd_open(child)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _event in poll.poll()}
        if process in ready:
            break
        numbers = os.read(lifeline, 64)
        for number in numbers or bytes([signal.SIGKILL]):
            signal.pidfd_send_signal(process, number)
        if not numbers:
            poll.unregister(lifeline)
    _pid, ended = os.waitpid(child, 0)
    number = os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0
    _say(status, exit=128 + number if number else os.WEXITSTATUS(ended), signal=number)


def _say(status: int, **fields: object) -> None:
    try:
        os.write(status, json.dumps(fields).encode() + b"\n")
    except OSError:
        return  # the agent is gone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
