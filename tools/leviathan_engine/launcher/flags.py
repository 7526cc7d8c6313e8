"""The engine's command line: the runbook's flags made true, checked before anything is loaded.

    leviathan_engine --model_path DIR --gpu_split "90000,30000" --cpu_offload_max_threads 96 [-- KTRANSFORMERS FLAGS]

`--model_path` alone is the folder of the GGUF files, as the runbook has it. With `--gguf_path` beside it, it is what it
is upstream: the Hugging Face folder. What stands after `--` goes to KTransformers' own parser as it is; flags of its
that would do nothing here are refused.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from leviathan_engine.errors import UsageError
from leviathan_engine.launcher import front_flags, upstream_flags
from leviathan_engine.plan.machine import MB, gpu_split

MAX_THREADS = 1024
# Bytes of a chat template, as model/template_process.py has it, which is not imported here: Jinja takes its time.
MOST_SOURCE = 1 << 20
EPILOG = """\
environment:
  LEVIATHAN_API_KEY        the key that /v1 asks for, or several, separated by commas; empty: everybody may ask
  LEVIATHAN_API_KEY_FILE   a file with the keys, as a Secret is mounted; goes before LEVIATHAN_API_KEY
  LEVIATHAN_CORS_ORIGINS   web origins whose pages may use the API, such as https://chat.example.org; * is all
  LEVIATHAN_TLS_CERT_FILE  the certificate for HTTPS, with LEVIATHAN_TLS_KEY_FILE; both are read again when renewed
  LEVIATHAN_ACCESS_LOG     a line a request on stderr: text (the default), json, or off
  OTEL_EXPORTER_OTLP_ENDPOINT  a collector that gets the spans of requests, OTLP over HTTP: http://collector:4318
  LEVIATHAN_QUEUE          requests that may wait beside the one that is answered (64); the next one gets 429
  LEVIATHAN_MAX_BODY       bytes of a request, at most; without it what --cache_lens tokens can take, up to 32 MiB
  LEVIATHAN_MODEL_ALIASES  further names of the model, separated by commas
  LEVIATHAN_ANY_MODEL      1: requests for any other model are answered too (0: they get 404)
  LEVIATHAN_UNKNOWN_FIELDS refuse or ignore: unknown fields of a request get 400, or a response header names them
  LEVIATHAN_CONNECTIONS    connections at most (1024); what waits longest for its client is closed for newcomers
  LEVIATHAN_CLIENT_SECONDS seconds after which a client that takes nothing of its answer is thrown out (30)
  LEVIATHAN_HOSTS          further names of this server, separated by commas, for requests without a key; *: any
  LEVIATHAN_DEVICE         the model's partition, to be mounted; without it it is looked for where the model is missing
  LEVIATHAN_FILESYSTEM     its file system, any that the kernel mounts (xfs)
  LEVIATHAN_MOUNT_POINT    where it is mounted (/models)
  LEVIATHAN_STATE          the folder for all that is written (/var/lib/leviathan, /run/leviathan or TMPDIR)
  LEVIATHAN_MARCH          the build of the CPU experts, such as znver4, in place of the best that this CPU runs
  LEVIATHAN_GPU_EXPERTS    0: no expert stays on the GPUs (1: those that have room, most used first)
  LEVIATHAN_STREAM_TOKENS  from how many tokens of a prompt on the GPUs read it, with experts streamed to them; 0: never
"""


@dataclass(frozen=True)
class Settings:
    """The checked command line. Sizes in bytes, lengths in tokens; None where the choice is left to the launcher.

    `config_path` is a Hugging Face folder to use in place of the one that is made from the GGUF header. `front_environ`
    are variables of the environment that the front reads.
    """

    gguf_path: Path
    config_path: Path | None
    model_name: str
    host: str
    port: int
    threads: int | None
    split: tuple[int, ...] | None
    cache_lens: int | None
    max_new_tokens: int | None
    chat_template: str | None
    kv_ram: int | None
    kv_dir: Path | None
    kv_disk: int
    optimize_config_path: Path | None
    engine_args: tuple[str, ...]
    freeze_experts: bool = False
    expert_counts: Path | None = None
    front_environ: Mapping[str, str] = field(default_factory=dict)


def parse(argv: Sequence[str]) -> Settings:
    """The settings of a command line without the program's name.

    Errors: UsageError in one line for an unknown flag, a value that is no number or out of range, a missing path.
    `--help` prints the help and ends the program, as argparse does.
    """
    own, theirs = _divide(argv)
    args = _parser().parse_args(own)
    split = None if args.gpu_split is None else gpu_split(args.gpu_split)
    if split is not None and not any(split):
        raise UsageError(f"--gpu_split {args.gpu_split!r} gives no GPU any memory", "give at least one GPU memory")
    gguf = args.gguf_path or args.model_path
    if gguf is None:
        raise UsageError("neither --model_path nor --gguf_path is given", "name the folder of the GGUF files")
    check_answers(args.max_new_tokens, args.cache_lens)
    return Settings(
        gguf_path=gguf,
        config_path=args.config_path or (args.model_path if args.gguf_path else None),
        model_name=args.model_name,
        host=args.host,
        port=args.port,
        threads=args.cpu_offload_max_threads,
        split=split,
        cache_lens=args.cache_lens,
        max_new_tokens=args.max_new_tokens,
        chat_template=_template(args),
        kv_ram=None if args.kv_ram is None else args.kv_ram * MB,
        kv_dir=args.kv_dir,
        kv_disk=args.kv_disk * MB,
        optimize_config_path=args.optimize_config_path,
        engine_args=theirs,
        freeze_experts=args.freeze_experts,
        expert_counts=args.expert_counts,
        front_environ=front_flags.environment(args),
    )


def check_answers(max_new_tokens: int | None, cache_lens: int | None) -> None:
    """Errors: UsageError when answers of so many tokens leave no room for a prompt in the cache."""
    if max_new_tokens is not None and cache_lens is not None and max_new_tokens >= cache_lens:
        raise UsageError(
            f"--max_new_tokens {max_new_tokens} leaves no room for a prompt in a cache of {cache_lens} tokens",
            "raise --cache_lens or lower --max_new_tokens",
        )


def check_split(split: Sequence[int], gpus: int) -> None:
    """Errors: UsageError when `split`, bytes a GPU, is for more cards than the `gpus` that are there."""
    if len(split) > gpus:
        text = ",".join(str(size // MB) for size in split)
        raise UsageError(
            f"--gpu_split {text!r} is for {len(split)} GPUs and {gpus} {'is' if gpus == 1 else 'are'} there",
            "one number for each GPU, or give the container more (nvidia.com/gpu, CUDA_VISIBLE_DEVICES)",
        )


def _template(args: argparse.Namespace) -> str | None:
    """The text of --chat_template. Errors: UsageError."""
    path: Path | None = args.chat_template
    if path is None:
        return None
    if args.config_path or (args.model_path and args.gguf_path):
        raise UsageError(
            "--chat_template is for the folder that is made from the GGUF header",
            "put it into the Hugging Face folder as chat_template.jinja",
        )
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_SOURCE + 1)
        text = raw.decode("utf-8")
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
        raise UsageError(f"--chat_template {path}: cannot be read: {why}", "name a Jinja file") from err
    if len(raw) > MOST_SOURCE or not text.strip():
        raise UsageError(f"--chat_template {path}: expected a template of 1 byte to 1 MiB", "name a Jinja file")
    return text


def _divide(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Our part and, after the first `--`, the engine's."""
    cut = list(argv).index("--") if "--" in argv else len(argv)
    theirs = tuple(argv[cut + 1 :])
    upstream_flags.check(theirs)
    own: list[str] = []
    for word in argv[:cut]:
        # argparse would take "-90000,30000" for a flag; it is a value, and a wrong one.
        if own and own[-1] == "--gpu_split" and not word.startswith("--"):
            own[-1] = f"--gpu_split={word}"
        else:
            own.append(word)
    return own, theirs


class _Parser(argparse.ArgumentParser):
    """argparse with our errors: one line, no usage text."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see --help; KTransformers' own flags go after --")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="leviathan_engine", description=__doc__, epilog=EPILOG, allow_abbrev=False, add_help=True)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    path = parser.add_argument
    path("--model_path", type=_path, help="folder of the GGUF files (the runbook's use) or a Hugging Face folder")
    path("--gguf_path", type=_path, help="folder or file of the GGUF files, where it is not --model_path")
    path("--config_path", type=_path, help="Hugging Face folder to use; without it one is made from the GGUF header")
    path("--chat_template", type=_path, help="file with the chat template to use in place of the GGUF header's")
    path("--optimize_config_path", type=_path, help="rule file to use; without it one is written from the plan")
    path("--model_name", type=_name, default="deepseek-v3", help="the model's name in the API")
    path("--host", default="0.0.0.0", help="address to listen on")
    path("--port", type=_whole(1, 65535), default=30000)
    path("--cpu_offload_max_threads", type=_whole(2, MAX_THREADS), help="threads for the experts, at most")
    path("--gpu_split", help='MB for each GPU, in the order of CUDA_VISIBLE_DEVICES: "90000,30000"; 0: none')
    path(
        "--cache_lens",
        type=_whole(64, 1 << 24),
        help="tokens of the KV cache: a prompt and its answer (as many as fit)",
    )
    path("--max_new_tokens", type=_whole(1, 1 << 24), help="tokens of an answer, at most (what its prompt leaves)")
    path("--kv_ram", type=_whole(0, 1 << 24), help="MB of memory for conversations that left the GPUs (what is left)")
    path("--kv_dir", type=_path, help="folder that keeps them, over restarts, too; none: main memory alone")
    path("--kv_disk", type=_whole(1, 1 << 30), default=50_000, help="MB in that folder, at most (50000)")
    path("--freeze_experts", action="store_true", help="the experts on the GPUs are those of the last start, and stay")
    path("--expert_counts", type=_path, help="expert-uses.json of another machine, for a state folder without one")
    front_flags.add(parser)
    return parser


def _whole(low: int, high: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not from {low} to {high}")
        return value

    return whole


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no path")
    return Path(text)


def _name(text: str) -> str:
    if not text or not text.isprintable() or len(text) > 200:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no name")
    return text
