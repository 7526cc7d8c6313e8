"""The worker: `python3 -m leviathan_engine.worker --socket ... -- KTRANSFORMERS FLAGS`.

Loads the model and reports the progress to the front, tests the model with a short answer, then serves the front's jobs
until the front closes the connection. The reason of a failure is one line on stderr and in the file --reason.
"""

import argparse
import contextlib
import os
import resource
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from leviathan_engine.errors import EngineError, GgufError
from leviathan_engine.gguf import read_model
from leviathan_engine.machine import cgroup
from leviathan_engine.machine.privileges import GROUP, give_up
from leviathan_engine.wire import Job, Link
from leviathan_engine.worker import page_lock
from leviathan_engine.worker.kept import Kept
from leviathan_engine.worker.ktransformers import KTransformers, Options, ThreadLimits
from leviathan_engine.worker.load_progress import LoadProgress
from leviathan_engine.worker.read_ahead import ReadAhead, pieces, room
from leviathan_engine.worker.session import Session

# Two decode steps before the CUDA graph is captured, and one that uses it.
TRIAL_TOKENS = 4
# Time for writing pages to --kv_dir after the front has closed the connection.
SETTLE_SECONDS = 3.0
# The shortest prompt that is read as a chunk instead of a decode step.
TRIAL_PROMPT = (0, 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until the connection ends; returns the exit code."""
    args = _parser().parse_args(argv)
    if args.user is not None:
        with contextlib.suppress(OSError, ValueError):  # so that it may pin memory like root
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        give_up(args.user, GROUP)
    try:
        link = Link(args.socket)
    except OSError as err:
        return _fail(args.reason, f"cannot connect to the front (HTTP server) at {args.socket}: {err.strerror}")
    try:
        _serve(link, args)
    except EngineError as err:
        return _fail(args.reason, err.line(), link)
    except (Exception, KeyboardInterrupt) as err:
        traceback.print_exc()
        first = (str(err).strip().splitlines() or ["no message"])[0]
        return _fail(args.reason, f"the engine failed: {type(err).__name__}: {first}", link)
    return 0


def _read_ahead(link: Link, args: argparse.Namespace) -> ReadAhead:
    """Starts to read the model's files ahead, before anything slow is imported."""

    def failed(line: str) -> None:
        # The loader may be waiting for the page that cannot be read, so end the whole process.
        code = _fail(args.reason, line, link)
        os._exit(code)

    try:
        work = tuple(pieces(read_model(args.gguf)))
    except GgufError:
        work = ()  # the loader reports what is wrong with the files
    return ReadAhead(work, room(cgroup.limits().memory, cgroup.memory_used()), failed)


def _serve(link: Link, args: argparse.Namespace) -> None:
    link.send({"kind": "phase", "phase": "loading"})
    ahead = _read_ahead(link, args)
    options = Options(
        home=args.home,
        hf=args.hf,
        gguf=args.gguf,
        rules=args.rules,
        cpu_infer=args.cpu_infer,
        threads=ThreadLimits(args.cpu_infer_most or args.cpu_infer, args.threads_file),
        cache_lens=args.cache_lens,
        device=args.device,
        flags=tuple(args.flags),
        chunk=args.chunk,
        stream_tokens=stream_tokens(os.environ),
        page_lock=page_lock.room(os.environ, args.kv_ram, cgroup.limits().memory),
        kept=Kept(args.kv_ram, args.kv_dir, args.kv_disk, bytes.fromhex(args.kv_version)),
        gpu_experts=tuple(map(int, args.gpu_experts.split(","))),
        freeze_experts=args.freeze_experts,
        expert_counts=args.expert_counts,
    )
    with LoadProgress(link.send, lambda: ahead.reading) as progress:
        model = KTransformers(options, progress.loaded)
    ahead.stop()
    if model.threads is not None:
        link.send({"kind": "threads", "count": model.threads.count, "rate": model.threads.rate})
    link.send({"kind": "phase", "phase": "first answer"})
    trial = Job("trial", TRIAL_PROMPT, TRIAL_TOKENS, 0.0, 1.0, None, (), scope="trial")
    with contextlib.closing(model.tokens(trial)) as tokens:
        for _ in range(TRIAL_TOKENS):
            next(tokens)
    Session(link, model, os.getpid()).run()
    model.settle(SETTLE_SECONDS)


def stream_tokens(environ: Mapping[str, str]) -> int | None:
    """Returns LEVIATHAN_STREAM_TOKENS as an integer, None if it is not set. Errors: EngineError."""
    text = environ.get("LEVIATHAN_STREAM_TOKENS", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise EngineError(
            f"LEVIATHAN_STREAM_TOKENS: expected a number of tokens, or 0 for never, got {text[:40]!r}",
            "correct it, or unset it to have it measured at the start",
        )
    return int(text)


def _fail(path: Path, reason: str, link: Link | None = None) -> int:
    try:
        path.write_text(reason, encoding="utf-8")
        if link is not None:
            link.send({"kind": "failed", "reason": reason})
    except OSError as err:
        sys.stderr.write(f"leviathan: cannot report the next error to the launcher and the front: {err}\n")
    sys.stderr.write(f"error: {reason}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leviathan_engine.worker", description=__doc__)
    for name in ("socket", "reason", "home", "hf", "gguf", "rules"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cpu_infer", "cache_lens", "chunk"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--gpu_experts", default="0", help="bytes of resident experts on each GPU, separated by commas")
    parser.add_argument("--freeze_experts", action="store_true", help="keep the resident experts of the last start")
    parser.add_argument("--expert_counts", type=Path, help="counts of expert uses from another machine")
    parser.add_argument("--cpu_infer_most", type=int, help="maximum number of threads that the measurement tries")
    parser.add_argument("--threads_file", type=Path, help="file for the measured count (default: no measurement)")
    parser.add_argument("--user", type=int, help="user id to switch to when started as root")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--kv_dir", type=Path)
    parser.add_argument("--kv_version", default="")
    for name in ("kv_ram", "kv_disk"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="KTransformers' own flags, after --")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a normal exit would wait for KTransformers' threads, which never end
