"""`leviathan site`."""

from typing import Any

import click

from leviathan.cli.options import Invocation, make_command
from leviathan.site.keys import toml
from leviathan.site.load import DEFAULTS, RENAMED, SPECS, load
from leviathan.terminal.output import Report

HELP = """Print the site's values and where each one comes from.

Each source overrides the ones before it: the defaults, the site file (--site, else $LEVIATHAN_SITE, else ./site.toml),
environment variables (LEVIATHAN_SECTION_KEY), flags (--set section.key=value).

\b
Examples:
  leviathan site --default > site.toml
  leviathan site --schema > site.schema.json
  leviathan site --set push.parallel=8 | grep -v default
  LEVIATHAN_CLUSTER_NODE=talos-2 leviathan site --json
"""


@click.option("--default", "show_default", is_flag=True, help="Print the default site file, with comments.")
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of the site file, for editors.")
def site_command(invocation: Invocation, show_default: bool, show_schema: bool) -> int:
    """Print the site that the other commands would use."""

    def shown() -> Report:
        if show_default:
            text = DEFAULTS.read_text(encoding="utf-8")
            return Report(text, {"toml": text})
        if show_schema:
            from leviathan.site import json_schema  # noqa: PLC0415 - only here

            return Report(json_schema.FILE.read_text(encoding="utf-8").rstrip("\n"), current_schema())
        loaded = invocation.load_site()
        values = loaded.values()
        lines, section = [], ""
        for spec in SPECS:
            if spec.section != section:
                section = spec.section
                lines.append(f"[{section}]")
            setting = f"{spec.name} = {toml(values[section][spec.name])}"
            lines.append(f"{setting:<58} # {loaded.origins[spec.path]}")
        return Report("\n".join(lines), {"site": values, "origins": dict(loaded.origins)})

    return invocation.finish(shown)


def current_schema() -> dict[str, Any]:
    """The JSON Schema generated from the current code."""
    from leviathan.site import json_schema  # noqa: PLC0415 - as above

    return json_schema.schema(SPECS, load().values(), RENAMED)


command = make_command("site", HELP)(site_command)
