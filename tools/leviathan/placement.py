"""The engine's placement planner for a site: the same arithmetic as in the pod, with no GPU and without the weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan.errors import ExitCode, LeviathanError
from leviathan.site.quantity import parse_quantity
from leviathan.site.schema import Site
from leviathan.terminal.output import write_atomically
from leviathan_engine.planning import (
    MB,
    EngineError,
    Gpu,
    Machine,
    Model,
    Plan,
    Request,
    Threads,
    UsageError,
    assumed,
    dump,
    gpu_split,
    make_plan,
    q4_k_m,
    read_model,
    read_shape,
    render,
    threads,
)

#: What the engine's sentences call a thing → what a user of this tool sets.
WORDS = (
    (", or remove the flag", ""),
    ("--gpu_split", "engine.gpu_split"),
    ("--cache_lens", "--cache-lens"),
    ("resources.limits.memory", "resources.memory_limit"),
)


class Misfit(LeviathanError):
    """The model does not fit the machine, or cannot be read."""


@dataclass(frozen=True)
class Wishes:
    """What the site does not say.

    Arguments: `gpu_memory`, MB (10^6 bytes) of each card in PCI order, empty: as much as engine.gpu_split gives it;
    `choose`, whether the planner may ignore engine.gpu_split; `cache_tokens` of the KV cache, None:
    engine.cache_lens, and without that as many as fit; `ram`, bytes of the node, None: cluster.node_memory;
    `numa_nodes`; `ram_mb_per_s`, None where nobody measured it.
    """

    gpu_memory: str = ""
    choose: bool = False
    cache_tokens: int | None = None
    ram: int | None = None
    numa_nodes: int = 1
    ram_mb_per_s: float | None = None


@dataclass(frozen=True)
class Planned:
    """A plan that works, the engine's threads, what is assumed of the model (empty: it was read), the pod's GPUs."""

    plan: Plan
    threads: Threads
    assumed: str
    gpus: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the planner warns of, in this tool's words."""
        return tuple(self._translated(text) for text in self.plan.warnings)

    def text(self) -> str:
        """The table, the threads, warnings and notes."""
        written = " as llama.cpp writes it" if self.assumed.endswith("Q4_K_M") else ""
        head = f"no model given: {self.assumed}{written}\n" if self.assumed else ""
        note = f" ({self.threads.note})" if self.threads.note else ""
        return head + self._translated(render(self.plan)) + f"threads for the experts: {self.threads.count}{note}"

    def data(self) -> dict[str, Any]:
        """The plan for programs; sizes in bytes."""
        document = self.plan.to_dict()
        return {
            **document,
            "warnings": list(self.warnings),
            "threads": self.threads.count,
            "assumed": bool(self.assumed),
        }

    def _translated(self, text: str) -> str:
        """The engine's words as the site's settings."""
        return translated(text)


def load_model(path: Path | None) -> Model:
    """The header of the model at `path`: a GGUF folder or file, a header dump or a model manifest (.json).

    None is DeepSeek-V3 Q4_K_M as llama.cpp writes it. Errors: Misfit.
    """
    if path is None:
        return q4_k_m()
    try:
        return _from_json(path) if path.suffix == ".json" else read_model(path)
    except EngineError as error:
        raise misfit(error) from None
    except OSError as error:
        raise Misfit(
            "cannot read the model", where=str(path), why=error.strerror or str(error), remedy="check the path"
        ) from None


def plan(site: Site, model: Model | None, wishes: Wishes) -> Planned:
    """Plan `model` (None: the assumed one) on the site's machine.

    Threads, split, memory limit and the disk's rate are the site's; a split that does not fit the cards is refused.
    Errors: Misfit, with the bytes that are missing and what to change; of exit status 2 for a wrong number of cards.
    """
    guess = assumed(site.model.size_gb * 1e9) if model is None else None
    chosen = guess.model if guess is not None else model
    assert chosen is not None
    split = tuple(share * MB for share in site.engine.gpu_split)
    tokens = wishes.cache_tokens or site.engine.cache_lens or None
    try:
        memory = gpu_split(wishes.gpu_memory, "--gpu-memory") if wishes.gpu_memory else split
        if wishes.choose and not wishes.gpu_memory:
            raise UsageError("--choose needs to know the cards", 'give MB for each, as in --gpu-memory "102642,34190"')
        machine = Machine(
            gpus=tuple(Gpu(index, size) for index, size in enumerate(memory)),
            ram=wishes.ram if wishes.ram is not None else int(parse_quantity(site.cluster.node_memory)),
            memory_limit=int(parse_quantity(site.resources.memory_limit)),
            numa_nodes=wishes.numa_nodes,
            disk_rate=site.start.disk_mb_per_s * MB,
            ram_rate=None if wishes.ram_mb_per_s is None else wishes.ram_mb_per_s * MB,
        )
        made = make_plan(chosen, machine, Request(tokens, None if wishes.choose else split))
        cpus = max(1, int(parse_quantity(site.resources.cpu_limit)))
        used = threads(read_shape(chosen), site.engine.cpu_threads, cpus, cpus)
    except EngineError as error:
        raise misfit(error) from None
    return Planned(made, used, guess.name if guess is not None else "", len(split))


def write_header(model: Model, target: Path) -> None:
    """Write the model's header, without its vocabulary, as a dump that `load_model` reads. Errors: LeviathanError."""
    write_atomically(target, dump.dump(model) + "\n")


def misfit(error: EngineError) -> Misfit:
    """The planner's error as this tool's."""
    found = Misfit(translated(error.message), remedy=translated(error.remedy))
    if isinstance(error, UsageError):
        found.exit_code = ExitCode.USAGE
    return found


def translated(text: str, words: Sequence[tuple[str, str]] = WORDS) -> str:
    """A sentence of the engine with its flags as this tool calls them."""
    for theirs, ours in words:
        text = text.replace(theirs, ours)
    return text


def _from_json(path: Path) -> Model:
    from leviathan.model.manifest import header_of  # noqa: PLC0415 - only for JSON

    text = path.read_text(encoding="utf-8", errors="replace")
    return dump.load(header_of(text) or text, str(path))
