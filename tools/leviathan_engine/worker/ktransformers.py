"""Runs KTransformers' loader, model and decode step with our own generation loop and sampling.

KTransformers' HTTP server and generation loop (0.2.1.post1) are not used, because they ignore temperature, max_tokens
and stop, and do not count tokens. `KTransformersInterface` is used for loading, `decode_one_tokens` and CUDA graphs.
"""

import importlib.util
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from leviathan_engine.errors import EngineError
from leviathan_engine.machine import cpu
from leviathan_engine.model.hf_config import register
from leviathan_engine.wire import Chosen, Job, PromptLogprobs, PromptProgress, PromptToken
from leviathan_engine.worker import expert_threads, load_progress, marlin_packing, model_changes, one_token
from leviathan_engine.worker.answer_grammar import Grammars
from leviathan_engine.worker.generation import Generation, LastLogits
from leviathan_engine.worker.kept import NOWHERE, Kept
from leviathan_engine.worker.prompt_logprobs import head_inputs, token_logprobs
from leviathan_engine.worker.session import Cancelled, Heard, OutOfMemory
from leviathan_engine.worker.thread_choice import Choice
from leviathan_operators.cache import CacheFull, PrefixCache


@dataclass(frozen=True)
class ThreadLimits:
    """At most `most` threads for the CPU experts; `file` stores the measured count, None: no measurement."""

    most: int
    file: Path | None


@dataclass(frozen=True)
class Options:
    """What the worker is started with: folders and files, and KTransformers' own `flags`.

    `chunk`: maximum tokens of a prompt that are read at once. `stream_tokens`: chunks of at least this many tokens
    stream experts to the GPUs; 0: never, None: measured at the start. `page_lock`: bytes of main memory that may be
    page-locked for them. `kept`: where conversations go that are evicted from the GPUs. `gpu_experts`: bytes of
    resident experts on each GPU; `freeze_experts`: keep those of the last start; `expert_counts`: file with another
    machine's counts of expert uses.
    """

    home: Path
    hf: Path
    gguf: Path
    rules: Path
    cpu_infer: int
    cache_lens: int
    device: str
    flags: tuple[str, ...] = ()
    threads: ThreadLimits = ThreadLimits(2, None)
    chunk: int = 4096
    stream_tokens: int | None = None
    page_lock: int = 0
    kept: Kept = NOWHERE
    gpu_experts: tuple[int, ...] = ()
    freeze_experts: bool = False
    expert_counts: Path | None = None


def never() -> bool:
    """A `cancelled` function for jobs that are never cancelled."""
    return False


def unheard(_event: PromptProgress | PromptLogprobs) -> None:
    """A `progress` function that does nothing."""


def say(text: str) -> None:
    """Writes one line to the log."""
    sys.stderr.write(f"leviathan: {text}\n")
    sys.stderr.flush()


class KTransformers:
    """One loaded model."""

    def __init__(self, options: Options, progress: load_progress.Progress) -> None:
        """Loads the model; calls `progress` with the number of layers and bytes. Errors: EngineError, and upstream's.

        The process's HOME must be `options.home`, because upstream reads its configuration from there.
        """
        write_config(options)
        self._torch = import_module("torch")
        config = import_module("ktransformers.server.config.config").Config()
        parse_flags(config, options)
        register()
        marlin_packing.install()
        model_changes.keep_scales_narrow()
        kernels = one_token.before_loading(options.device, say)
        load_progress.count_tensors(import_module("ktransformers.util.custom_gguf").GGUFLoader, progress)
        interfaces: Any = import_module("ktransformers.server.backend.interfaces.ktransformers")
        interfaces.StaticCache = import_module("leviathan_operators.operators.latent_cache").LatentCache
        self._interface = _interface_class(interfaces.KTransformersInterface)(config)
        model_changes.lighten(self._interface.model)
        model_changes.read_in_chunks(self._interface.model)
        fewer: Any = import_module("leviathan_operators.operators.fewer_kernels")
        fewer.norms_in_two_kernels(self._interface.model)
        fewer.angles_once(self._interface.model)
        self.threads = self._settle_threads(options)
        experts: Any = import_module("leviathan_operators.install_experts")
        resident = {f"cuda:{index}": size for index, size in enumerate(options.gpu_experts)}
        more = {"counts": options.expert_counts, "page_lock": options.page_lock}
        wanted = experts.Options(options.stream_tokens, resident, options.home, frozen=options.freeze_experts, **more)
        self._experts = experts.install(self._interface.model, wanted, say)
        one_token.after_loading(self._interface.model, kernels, say)
        self._last_layer: Any = import_module("leviathan_operators.operators.last_layer")
        self._last_layer.last_position_only(self._interface.model)
        self._cache = self._interface.cache
        parked = options.kept.pages(self._cache.page_bytes)
        self._prefixes = PrefixCache(self._cache.max_pages, self._cache, parked)
        # Stays in main memory, because a decode step looks up its token there.
        self._interface.generated_ids = self._torch.zeros(1, options.cache_lens + 1, dtype=self._torch.int)
        self._device = self._interface.device_map["blk.0.self_attn"]["generate_device"]
        self._chunk = options.chunk
        self._answers = LastLogits()
        self._grammars = Grammars(options.hf)
        self._cancelled = never
        for layer in self._interface.model.model.layers:
            layer.register_forward_pre_hook(self._before_layer)

    def _settle_threads(self, options: Options) -> Choice | None:
        if options.threads.file is None:
            return None
        cores = cpu.physical_cores()
        return expert_threads.settle(
            self._interface.model, options.cpu_infer, options.threads.most, cores, options.threads.file
        )

    def tokens(
        self, job: Job, cancelled: Callable[[], bool] = never, progress: Heard = unheard
    ) -> Generator[int | Chosen, None, None]:
        """Yields the tokens of an answer, as `Generation.tokens`.

        Reading a prompt may take minutes, so `cancelled` is called before each layer of each chunk; the prefix cache
        keeps the chunks that were read before. Errors: Cancelled, OutOfMemory; RuntimeError from KTransformers.
        """
        try:
            generation = Generation(self, self._prefixes, job, self._chunk, self._answers, self._grammars)
            try:
                yield from self._answer(generation, cancelled, progress)
            finally:
                generation.close()
        except CacheFull as err:
            raise OutOfMemory(f"the KV cache is too small for this request: {err}") from err
        except self._torch.OutOfMemoryError as err:
            self._torch.cuda.empty_cache()
            raise OutOfMemory(f"the GPU's memory is too small for this prompt: {str(err).splitlines()[0]}") from err

    def _answer(
        self, generation: Generation, cancelled: Callable[[], bool], progress: Heard
    ) -> Generator[int | Chosen, None, None]:
        progress(generation.progress)
        # A layer may raise only here, because a decode step may be capturing a CUDA graph.
        self._cancelled = cancelled
        try:
            while generation.read():
                for named in generation.prompt_logprobs():
                    progress(named)
                progress(generation.progress)
        finally:
            self._cancelled = never
            self._experts.after_prompt()
        yield from generation.tokens()

    def read(self, pages: Sequence[int], first: int, ids: Sequence[int]) -> Any:
        """Reads a chunk of a prompt into `pages` at positions from `first`; returns the logits of its last token."""
        torch, model = self._torch, self._interface.model
        if self._device != "cpu":
            torch.cuda.set_device(self._device)
        self._cache.select(pages, first)
        embedded = model.model.embed_tokens(torch.tensor([list(ids)])).to(self._device)
        self._experts.before_chunk(len(ids))  # after that copy, which would wait for the experts'
        out = model(
            inputs_embeds=embedded,
            cache_position=torch.arange(first, first + len(ids), device=self._device),
            past_key_values=self._cache,
            return_dict=False,
            use_cache=True,
        )
        return out[0][0, -1]

    def read_named(
        self, pages: Sequence[int], first: int, ids: Sequence[int], following: Sequence[int], most: int
    ) -> tuple[Any, Iterator[PromptToken]]:
        """As `read`; also returns the log probabilities of the tokens `following` each of `ids`. Errors: Cancelled."""
        head = self._interface.model.lm_head
        with self._last_layer.every_position(self._interface.model), head_inputs(head) as seen:
            logits = self.read(pages, first, ids)
        return logits, token_logprobs(head, seen[0][0], following, most, self._before_layer)

    def decode(self, pages: Sequence[int], position: int, token: int) -> Any:
        """Reads one generated token into `pages` at `position`; returns its logits, which the next step overwrites."""
        engine = self._interface
        self._cache.select(pages, position)
        engine.generated_ids[0, position] = token
        engine.seq_length = position + 1
        return engine.decode_one_tokens()

    def _before_layer(self, *_arguments: Any) -> None:
        if self._cancelled():
            raise Cancelled

    def memory(self) -> list[dict[str, Any]]:
        """Returns the memory of the GPUs in bytes."""
        cuda = self._torch.cuda
        out = []
        for gpu in range(cuda.device_count()):
            free, total = cuda.mem_get_info(gpu)
            out.append({"gpu": gpu, "used": total - free, "total": total})
        return out

    def rest(self) -> bool:
        """Does background work: copies pages that are evicted next, saves counts of expert uses, moves experts."""
        return self._prefixes.park_ahead() or self._experts.rest()

    def settle(self, seconds: float) -> None:
        """Waits at most `seconds` until pages are written to the disk."""
        self._prefixes.settle(seconds)

    def gauges(self) -> dict[str, float]:
        """Returns values for /metrics, by metric name."""
        found = self._experts.hit_ratio()
        return ({} if found is None else {"leviathan_expert_hit_ratio": found}) | {
            "leviathan_cache_pages": self._prefixes.pool.count,
            "leviathan_cache_pages_used": self._prefixes.used,
            "leviathan_cache_pages_parked": self._prefixes.parked,
            "leviathan_cache_pages_evicted": self._prefixes.evicted,
            "leviathan_cache_pages_dropped": self._prefixes.dropped,
        }


def write_config(options: Options) -> None:
    """Writes HOME/.ktransformers/config.yaml: upstream's file with absolute paths, our model and no remote code.

    Errors: EngineError if upstream is not installed or the folder cannot be written.
    """
    spec = importlib.util.find_spec("ktransformers")
    if spec is None or spec.origin is None:
        raise EngineError("the Python package ktransformers is not installed", "run this command in the engine's image")
    yaml = import_module("yaml")
    folder = options.home / ".ktransformers"
    try:
        text = (Path(spec.origin).parent / "configs" / "config.yaml").read_text(encoding="utf-8")
        config = yaml.safe_load(text)
        config["log"] |= {"dir": str(options.home / "logs"), "level": "info"}
        config["db"]["host"] = str(options.home)
        config["ext"]["cpu_infer"] = options.cpu_infer
        config["model"] |= {
            "path": str(options.hf),
            "gguf_path": str(options.gguf),
            "device": options.device,
            "cache_lens": options.cache_lens,
            "use_cuda_graph": options.device != "cpu",
            "trust_remote_code": False,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    except OSError as err:
        raise EngineError(
            f"cannot write {err.filename}: {err.strerror}", "set LEVIATHAN_STATE to a writable folder"
        ) from err


def engine_argv(options: Options) -> list[str]:
    """Returns the command line for upstream's parser: our flags, then the user's."""
    own = {
        "--model_path": options.hf,
        "--gguf_path": options.gguf,
        "--optimize_config_path": options.rules,
        "--cpu_infer": options.cpu_infer,
        "--cache_lens": options.cache_lens,
        "--device": options.device,
    }
    return [word for pair in own.items() for word in map(str, pair)] + list(options.flags)


def parse_flags(config: Any, options: Options) -> None:
    """Sets upstream's configuration with its own parser. Errors: EngineError for a flag that it does not know."""
    before = sys.argv
    sys.argv = ["ktransformers", *engine_argv(options)]
    try:
        import_module("ktransformers.server.args").ArgumentParser(config).parse_args()
    except SystemExit as err:
        flags = " ".join(options.flags)
        raise EngineError(
            f"KTransformers does not accept its flags ({flags})", "correct the flags after --; its reason is above"
        ) from err
    finally:
        sys.argv = before


def _interface_class(upstream: Any) -> Any:
    """Returns a subclass of upstream's class that does not choose tokens."""

    class Interface(upstream):  # type: ignore[misc]
        def logits_to_token(self, logits: Any) -> Any:
            """Returns the logits unchanged."""
            return logits

    return Interface
