"""The engine's command line: the runbook's flags, checked before anything is loaded.

    leviathan_engine --model_path DIR --gpu_split "90000,30000" --cpu_offload_max_threads 96 [-- KTRANSFORMERS FLAGS]

`--model_path` alone is the folder with the GGUF files, as in the runbook. Together with `--gguf_path` it is the Hugging
Face folder, as in KTransformers. Flags after `--` are passed to KTransformers' own parser; those that have no effect
here are refused.
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
# Maximum bytes of a chat template, as in model/template_process.py, which is slow to import because of Jinja.
MOST_SOURCE = 1 << 20
EPILOG = """\
environment:
  LEVIATHAN_API_KEY        API key that clients must send, or several separated by commas; empty: no key is needed
  LEVIATHAN_API_KEY_FILE   file with the API keys, such as a mounted Secret; overrides LEVIATHAN_API_KEY
  LEVIATHAN_CORS_ORIGINS   web origins whose pages may use the API, such as https://chat.example.org; *: all
  LEVIATHAN_TLS_CERT_FILE  certificate for HTTPS, together with LEVIATHAN_TLS_KEY_FILE; reloaded when renewed
  LEVIATHAN_ACCESS_LOG     log one line per request on stderr: text (the default), json, or off
  OTEL_EXPORTER_OTLP_ENDPOINT  collector for request spans, OTLP over HTTP, such as http://collector:4318
  LEVIATHAN_QUEUE          requests that may wait for their turn (64); further ones get status 429
  LEVIATHAN_MAX_BODY       maximum size of a request in bytes; default: enough for --cache_lens tokens, up to 32 MiB
  LEVIATHAN_MODEL_ALIASES  more names of the model, separated by commas
  LEVIATHAN_ANY_MODEL      1: answer requests that name any other model (0: they get status 404)
  LEVIATHAN_UNKNOWN_FIELDS refuse: unknown request fields get status 400; ignore: a response header lists them
  LEVIATHAN_CONNECTIONS    maximum number of connections (1024); above it, the longest idle connection is closed
  LEVIATHAN_CLIENT_SECONDS seconds after which a client that does not read its answer is disconnected (30)
  LEVIATHAN_HOSTS          more host names of this server, separated by commas, for requests without a key; *: any
  LEVIATHAN_DEVICE         partition with the model, to be mounted; default: search for it if the model is missing
  LEVIATHAN_FILESYSTEM     file system of that partition, any that the kernel can mount (xfs)
  LEVIATHAN_MOUNT_POINT    folder on which the partition is mounted (/models)
  LEVIATHAN_STATE          folder for everything the engine writes (/var/lib/leviathan, /run/leviathan or TMPDIR)
  LEVIATHAN_MARCH          build of the CPU experts, such as znver4; default: the best one that this CPU can run
  LEVIATHAN_GPU_EXPERTS    1: keep the most used experts on the GPUs, as many as fit (the default); 0: none
  LEVIATHAN_STREAM_TOKENS  prompts of at least this many tokens are read on the GPUs, with streamed experts; 0: never
  LEVIATHAN_PAGE_LOCK      1: page-lock the experts that such prompts stream, if all fit (the default); 0: never
"""


@dataclass(frozen=True)
class Settings:
    """The checked command line. Sizes are in bytes, lengths in tokens; None leaves the choice to the launcher.

    `config_path` is a Hugging Face folder that replaces the one generated from the GGUF header. `front_environ` has
    environment variables for the front.
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
    """Returns the settings of a command line without the program's name.

    Errors: UsageError in one line for an unknown flag, a value that is not a number or is out of range, a missing path.
    `--help` prints the help and ends the program, as in argparse.
    """
    own, theirs = _divide(argv)
    args = _parser().parse_args(own)
    split = None if args.gpu_split is None else gpu_split(args.gpu_split)
    if split is not None and not any(split):
        raise UsageError(
            f"--gpu_split {args.gpu_split!r}: expected a number above 0 for at least one GPU",
            'give the MB of each GPU, as in --gpu_split "90000,30000"',
        )
    gguf = args.gguf_path or args.model_path
    if gguf is None:
        raise UsageError(
            "--model_path and --gguf_path are both missing", "set --model_path to the folder with the GGUF files"
        )
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
    """Checks that answers of `max_new_tokens` leave room for a prompt in the KV cache. Errors: UsageError."""
    if max_new_tokens is not None and cache_lens is not None and max_new_tokens >= cache_lens:
        raise UsageError(
            f"--max_new_tokens {max_new_tokens} leaves no room for a prompt in a KV cache of {cache_lens} tokens",
            "raise --cache_lens or lower --max_new_tokens",
        )


def check_split(split: Sequence[int], gpus: int) -> None:
    """Checks that `split`, bytes per GPU, has at most one number for each of the `gpus`. Errors: UsageError."""
    if len(split) > gpus:
        text = ",".join(str(size // MB) for size in split)
        raise UsageError(
            f"--gpu_split {text!r} has {len(split)} numbers, but this container has {gpus} GPU{'s' * (gpus != 1)}",
            "give one number for each GPU, or give the container more GPUs (nvidia.com/gpu, CUDA_VISIBLE_DEVICES)",
        )


def _template(args: argparse.Namespace) -> str | None:
    """Returns the text of --chat_template. Errors: UsageError."""
    path: Path | None = args.chat_template
    if path is None:
        return None
    if args.config_path or (args.model_path and args.gguf_path):
        raise UsageError(
            "--chat_template cannot be used together with a Hugging Face folder (--config_path, or --model_path with"
            " --gguf_path)",
            "save the template in that folder as chat_template.jinja",
        )
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_SOURCE + 1)
        text = raw.decode("utf-8")
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
        raise UsageError(f"--chat_template: cannot read {path}: {why}", "give the path of a Jinja file") from err
    if len(raw) > MOST_SOURCE or not text.strip():
        size = "more than 1 MiB" if len(raw) > MOST_SOURCE else "only white space"
        raise UsageError(
            f"--chat_template {path}: expected a template of at most 1 MiB, got {size}", "give the path of a Jinja file"
        )
    return text


def _divide(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Returns our flags, and KTransformers' flags, which follow the first `--`."""
    cut = list(argv).index("--") if "--" in argv else len(argv)
    theirs = tuple(argv[cut + 1 :])
    upstream_flags.check(theirs)
    own: list[str] = []
    for word in argv[:cut]:
        # argparse would treat "-90000,30000" as a flag; it is a value, and a wrong one.
        if own and own[-1] == "--gpu_split" and not word.startswith("--"):
            own[-1] = f"--gpu_split={word}"
        else:
            own.append(word)
    return own, theirs


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises our one-line errors, without a usage text."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see --help; KTransformers' own flags go after --")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="leviathan_engine", description=__doc__, epilog=EPILOG, allow_abbrev=False, add_help=True)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    path = parser.add_argument
    path("--model_path", type=_path, help="folder with the GGUF files; together with --gguf_path: Hugging Face folder")
    path("--gguf_path", type=_path, help="GGUF file, or folder with the GGUF files (default: --model_path)")
    path("--config_path", type=_path, help="Hugging Face folder (default: generated from the GGUF header)")
    path("--chat_template", type=_path, help="file with a chat template that replaces the one in the GGUF header")
    path("--optimize_config_path", type=_path, help="KTransformers rule file (default: written from the plan)")
    path("--model_name", type=_name, default="deepseek-v3", help="name of the model in the API")
    path("--host", default="0.0.0.0", help="address to listen on (0.0.0.0)")
    path("--port", type=_whole(1, 65535), default=30000)
    path("--cpu_offload_max_threads", type=_whole(2, MAX_THREADS), help="maximum number of threads for the CPU experts")
    path(
        "--gpu_split", help='MB to use of each GPU, in the order of CUDA_VISIBLE_DEVICES, as in "90000,30000"; 0: none'
    )
    path(
        "--cache_lens",
        type=_whole(64, 1 << 24),
        help="size of the KV cache in tokens; a prompt and its answer must fit (default: as many as fit the GPUs)",
    )
    path(
        "--max_new_tokens",
        type=_whole(1, 1 << 24),
        help="maximum number of tokens in an answer (default: what the prompt leaves of the KV cache)",
    )
    path(
        "--kv_ram",
        type=_whole(0, 1 << 24),
        help="MB of main memory for the KV cache of earlier conversations (default: the memory that is left)",
    )
    path("--kv_dir", type=_path, help="folder that also keeps them over restarts (default: main memory only)")
    path("--kv_disk", type=_whole(1, 1 << 30), default=50_000, help="maximum size of that folder in MB (50000)")
    path("--freeze_experts", action="store_true", help="keep the experts on the GPUs that the last start had there")
    path("--expert_counts", type=_path, help="expert-uses.json of another machine, used if this one has none yet")
    front_flags.add(parser)
    return parser


def _whole(low: int, high: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}")
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected an integer from {low} to {high}, got {value}")
        return value

    return whole


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text[:40]!r}")
    return Path(text)


def _name(text: str) -> str:
    if not text or not text.isprintable() or len(text) > 200:
        raise argparse.ArgumentTypeError(f"expected 1 to 200 printable characters, got {text[:40]!r}")
    return text
