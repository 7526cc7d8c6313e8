"""Checks that the model fits: runs the engine's planner with the site's split and limits, and the node's memory."""

from collections.abc import Iterator
from pathlib import Path

from leviathan.cluster.client import ClusterError
from leviathan.errors import LeviathanError
from leviathan.model.manifest import header_of
from leviathan.placement import Misfit, Wishes, load_model
from leviathan.placement import plan as make_plan
from leviathan.preflight.check_result import CheckResult, FactUnavailable, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.node_resources import amount
from leviathan.preflight.template import chat_template
from leviathan_engine.planning import assumed

#: Factor by which a model may exceed model.size_gb before a warning that the start budget is too small.
TOLERANCE = 1.02


def plan(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the model fits into GPUs and memory, reports the planner's warnings, and checks the chat template."""
    yield from chat_template(facts)
    site, path = facts.site, facts.header or _manifest(facts)
    model = load_model(path) if path is not None else None
    guess = assumed(site.model.size_gb * 1e9).name
    source = str(path) if path is not None else f"assuming {guess}; set model.manifest to use the real model"
    try:
        made = make_plan(site, model, Wishes(gpu_memory=facts.gpu_memory, ram=_ram(facts)))
    except Misfit as error:
        level = problem if model is not None or facts.gpu_memory else warning
        yield level(f"{error.what} ({source})", f"{error.remedy}; leviathan plan shows details")
        return
    gpus = ", ".join(f"layers {gpu.first_layer}-{gpu.last_layer} on GPU {gpu.index}" for gpu in made.plan.gpus)
    yield ok(f"{gpus}; prompts up to {made.plan.max_prompt} tokens ({source})")
    for text in made.warnings:
        what, _, fix = text.rpartition(": ")
        yield warning(what or text, fix if what else "")
    read = made.plan.file_bytes / 1e9
    if not made.assumed and read > site.model.size_gb * TOLERANCE:
        yield warning(
            f"the model has {read:.0f} GB, but the start budget is for model.size_gb = {site.model.size_gb:g}",
            f"leviathan deploy --set model.size_gb={read:.0f}",
        )


def _manifest(facts: Facts) -> Path | None:
    """The site's model manifest, if it has a header to plan with."""
    if not facts.site.model.manifest:
        return None
    path = Path(facts.site.model.manifest)
    try:
        return path if header_of(path.read_text(encoding="utf-8")) else None
    except (OSError, UnicodeDecodeError, LeviathanError):
        return None  # the phase `model` reports what is wrong with it


def _ram(facts: Facts) -> int | None:
    """Bytes of the node's memory; None if it is unknown."""
    try:
        return int(amount(facts.node()["status"]["capacity"]["memory"]))
    except (ClusterError, FactUnavailable, KeyError):
        return None
