"""`leviathan bench` with a site: the endpoint and its key, what to compare with, and the plan's bound."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from leviathan.bench.cells import document_of
from leviathan.bench.sweep import Measured, Settings, measure
from leviathan.cluster.port_forward import endpoint_of
from leviathan.errors import LeviathanError, UsageError
from leviathan.placement import Wishes, load_model, plan
from leviathan.site.schema import Site
from leviathan.smoke.endpoint import Endpoint
from leviathan.smoke.suite import api_key
from leviathan.smoke.tested_deployment import TestedDeployment
from leviathan.terminal.output import Console

#: Seconds for one answer: a long prompt on a CPU takes minutes.
TIMEOUT_S = 3600.0


def go(
    site: Site,
    environ: Mapping[str, str],
    console: Console,
    settings: Settings,
    *,
    url: str = "",
    model: str = "",
    compare: str = "",
    ram_mb_per_s: float | None = None,
) -> Measured:
    """Measure the site's endpoint, or `url`, and what to `compare` with, where that is an address.

    Errors: UsageError, BenchError.
    """
    name = model or site.engine.model_name
    place = TestedDeployment(site, environ, console)
    key = api_key(site, environ) or ("" if url else place.api_key())
    earlier = _earlier(compare, name, key, settings, console)
    with nullcontext(url) if url else endpoint_of(site, place.connection) as where:
        cells = measure(_endpoints(where, key, proxies=bool(url)), name, settings, console)
    bound, assumed = (None, "") if url else _bound(site, ram_mb_per_s)
    return Measured(where, name, cells, bound, assumed, earlier)


def _endpoints(url: str, key: str, *, proxies: bool) -> Callable[[], Endpoint]:
    return lambda: Endpoint(url, key=key, timeout_s=TIMEOUT_S, proxies=proxies)


def _earlier(compare: str, model: str, key: str, settings: Settings, console: Console) -> dict[str, Any]:
    if not compare:
        return {}
    if compare.startswith(("http://", "https://")):
        cells = measure(_endpoints(compare, key, proxies=True), model, settings, console)
        return Measured(compare, model, cells).data()
    try:
        return document_of(Path(compare).read_text(encoding="utf-8"), compare)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "cannot read what to compare with", where=compare, why=str(error), remedy="name a file of --result-file"
        ) from None


def _bound(site: Site, ram_mb_per_s: float | None) -> tuple[float | None, str]:
    """The plan's bound for one stream, and what it assumes; None where there is no plan, or no rate of the memory."""
    manifest = Path(site.model.manifest) if site.model.manifest else None
    try:
        model = load_model(manifest) if manifest is not None and manifest.is_file() else None
        made = plan(site, model, Wishes(ram_mb_per_s=ram_mb_per_s))
    except LeviathanError:
        return None, ""
    return made.plan.decode_bound, made.assumed
