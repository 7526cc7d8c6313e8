"""Whether the model fits: the engine's plan with the site's split and limits, and the node's memory."""

from collections.abc import Iterator
from pathlib import Path

from leviathan.cluster.client import ClusterError
from leviathan.errors import LeviathanError
from leviathan.model.manifest import header_of
from leviathan.placement import Misfit, Wishes, load_model
from leviathan.placement import plan as make_plan
from leviathan.preflight.check_result import CheckResult, NotAsked, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.node_resources import amount
from leviathan.preflight.template import chat_template
from leviathan_engine.planning import assumed

#: How much more than model.size_gb a model may have before the start budget is called too small.
TOLERANCE = 1.02


def plan(facts: Facts) -> Iterator[CheckResult]:
    """The model fits the GPUs and the memory; what the planner warns of; a chat template of the site's own."""
    yield from chat_template(facts)
    site, path = facts.site, facts.header or _manifest(facts)
    model = load_model(path) if path is not None else None
    guess = assumed(site.model.size_gb * 1e9).name
    source = str(path) if path is not None else f"assumed: {guess}; name the model itself in model.manifest"
    try:
        made = make_plan(site, model, Wishes(gpu_memory=facts.gpu_memory, ram=_ram(facts)))
    except Misfit as error:
        level = problem if model is not None or facts.gpu_memory else warning
        yield level(f"{error.what} ({source})", f"{error.remedy}; leviathan plan shows it")
        return
    gpus = ", ".join(f"layers {gpu.first_layer}-{gpu.last_layer} on GPU {gpu.index}" for gpu in made.plan.gpus)
    yield ok(f"{gpus}; prompts up to {made.plan.max_prompt} tokens ({source})")
    for text in made.warnings:
        what, _, fix = text.rpartition(": ")
        yield warning(what or text, fix if what else "")
    read = made.plan.file_bytes / 1e9
    if not made.assumed and read > site.model.size_gb * TOLERANCE:
        yield warning(
            f"the model has {read:.0f} GB, and the start budget is made for model.size_gb = {site.model.size_gb:g}",
            f"leviathan deploy --set model.size_gb={read:.0f}",
        )


def _manifest(facts: Facts) -> Path | None:
    """The model manifest of the site, where it has a header to plan with."""
    if not facts.site.model.manifest:
        return None
    path = Path(facts.site.model.manifest)
    try:
        return path if header_of(path.read_text(encoding="utf-8")) else None
    except (OSError, UnicodeDecodeError, LeviathanError):
        return None  # the phase `model` says what is wrong with it


def _ram(facts: Facts) -> int | None:
    """Bytes of the node's memory; None where it cannot be asked."""
    try:
        return int(amount(facts.node()["status"]["capacity"]["memory"]))
    except (ClusterError, NotAsked, KeyError):
        return None
