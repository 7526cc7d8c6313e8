"""The engine's process: `python3 -m leviathan_engine.worker --socket ... -- KTRANSFORMERS FLAGS`.

Loads the model while it tells the front how far it is, tries it with one short answer, then serves the front's jobs
until the front closes the connection. A failure is one line on stderr, and the text of the file --reason.
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
from leviathan_engine.worker.kept import Kept
from leviathan_engine.worker.ktransformers import KTransformers, Options, ThreadLimits
from leviathan_engine.worker.load_progress import LoadProgress
from leviathan_engine.worker.read_ahead import ReadAhead, pieces, room
from leviathan_engine.worker.session import Session

# Two decode steps before the CUDA graph is captured, one with it.
TRIAL_TOKENS = 4
# For pages on their way to --kv_dir, when the front has closed the connection.
SETTLE_SECONDS = 3.0
# The shortest prompt that is read as a chunk and not as a decode step.
TRIAL_PROMPT = (0, 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs to the end of the connection; returns the exit code."""
    args = _parser().parse_args(argv)
    if args.user is not None:
        with contextlib.suppress(OSError, ValueError):  # for pinned memory, as root has it
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        give_up(args.user, GROUP)
    try:
        link = Link(args.socket)
    except OSError as err:
        return _fail(args.reason, f"{args.socket}: the front does not answer: {err.strerror}")
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
    """Starts to read the model's files, before anything slow is imported."""

    def failed(line: str) -> None:
        # The loader may wait for the very page that cannot be read: only the process's end tells it.
        code = _fail(args.reason, line, link)
        os._exit(code)

    try:
        work = tuple(pieces(read_model(args.gguf)))
    except GgufError:
        work = ()  # the loader says what is wrong with the files
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
    """LEVIATHAN_STREAM_TOKENS: a whole number, None where it is not set. Errors: EngineError."""
    text = environ.get("LEVIATHAN_STREAM_TOKENS", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise EngineError(
            f"LEVIATHAN_STREAM_TOKENS={text[:40]!r}: expected a whole number of tokens, or 0 for never",
            "correct it, or leave it out: then it is measured at the start",
        )
    return int(text)


def _fail(path: Path, reason: str, link: Link | None = None) -> int:
    try:
        path.write_text(reason, encoding="utf-8")
        if link is not None:
            link.send({"kind": "failed", "reason": reason})
    except OSError as err:
        sys.stderr.write(f"the reason could not be handed on: {err}\n")
    sys.stderr.write(f"error: {reason}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leviathan_engine.worker", description=__doc__)
    for name in ("socket", "reason", "home", "hf", "gguf", "rules"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cpu_infer", "cache_lens", "chunk"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--gpu_experts", default="0", help="bytes of experts that stay on each GPU, with commas")
    parser.add_argument("--freeze_experts", action="store_true", help="the same ones stay as at the last start")
    parser.add_argument("--expert_counts", type=Path, help="another machine's counts of the experts' use")
    parser.add_argument("--cpu_infer_most", type=int, help="the most threads that a measurement may try")
    parser.add_argument("--threads_file", type=Path, help="keeps the measured count; without it nothing is measured")
    parser.add_argument("--user", type=int, help="the user to become, where it is started as root")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--kv_dir", type=Path)
    parser.add_argument("--kv_version", default="")
    for name in ("kv_ram", "kv_disk"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="KTransformers' own, after --")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the engine's spinning threads do not end by themselves
