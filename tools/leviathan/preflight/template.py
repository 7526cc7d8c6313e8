"""Checks the site's own chat template: its source, its hash, and whether it is a known one."""

from collections.abc import Iterator

from leviathan.errors import RenderError
from leviathan.manifests.chat_template import template
from leviathan.preflight.check_result import CheckResult, ok, problem
from leviathan.preflight.facts import Facts
from leviathan_engine.planning import describe_template


def chat_template(facts: Facts) -> Iterator[CheckResult]:
    """Checks the template in engine.chat_template; no findings if the model's own template is used."""
    named = facts.site.engine.chat_template
    if not named:
        return
    try:
        text = template(facts.site)
    except RenderError as error:
        yield problem(f"{error.what}: {error.where}: {error.why}", error.remedy)
        return
    if text is None:
        yield ok(f"{named} in the pod replaces the model's chat template; the engine's log shows its hash")
    else:
        yield ok(f"{named} replaces the model's: {describe_template(text)}")
