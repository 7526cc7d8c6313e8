"""From the last release to this one: its whole site file still works, and what it rendered is what is rendered now.

`earlier/` has that release's site file with every key, and what it rendered; both stay as they were.
"""

from pathlib import Path

import pytest

from leviathan.errors import UsageError
from leviathan.manifests.rendering import render
from leviathan.site.choices import Variant
from leviathan.site.load import load

EARLIER = Path(__file__).with_name("earlier")
DIGEST = f"sha256:{'1' * 64}"


def test_every_key_of_the_last_release_is_accepted_and_means_the_same() -> None:
    loaded = load(EARLIER / "site-0.1.toml")
    assert loaded.site == load().site
    assert [note.split(" ")[0] for note in loaded.notes] == [
        *("nvme.partition", "nvme.filesystem", "nvme.size_gb", "nvme.mount_point"),
    ]


@pytest.mark.parametrize("old_first", [True, False])
def test_a_key_under_both_names_is_an_error(tmp_path: Path, old_first: bool) -> None:
    sections = ["[nvme]\nsize_gb = 1.0\n", "[storage]\nsize_gb = 2.0\n"]
    path = tmp_path / "site.toml"
    path.write_text("".join(sections if old_first else reversed(sections)))
    with pytest.raises(UsageError, match=r"storage\.size_gb \(.*\): is also set under its old name; remove one"):
        load(path)


@pytest.mark.parametrize("variant", [each.value for each in Variant])
def test_what_was_rendered_is_rendered(variant: str) -> None:
    """So the first apply changes nothing, and a running engine is not restarted."""
    site = load(EARLIER / "site-0.1.toml", settings=[f"image.digest={DIGEST}", f"workload.variant={variant}"]).site
    assert render(site, {}).text() == (EARLIER / f"render-{variant}.yaml").read_text()


@pytest.mark.parametrize("variant", [each.value for each in Variant])
def test_another_release_is_not_restarted(variant: str) -> None:
    """Its objects get the label of their release; its pod's template, by which a Deployment decides, stays."""
    settings = [f"image.digest={DIGEST}", f"workload.variant={variant}", "storage.volume=leviathan-models"]
    runbook, other = (
        next(
            each for each in render(load(settings=[*settings, *more]).site, {}).objects if each["kind"] == "Deployment"
        )
        for more in ((), ("workload.deployment=other",))
    )
    assert other["metadata"]["labels"]["app.kubernetes.io/instance"] == "other"
    assert other["spec"]["template"] == runbook["spec"]["template"]
    assert other["spec"]["selector"] == runbook["spec"]["selector"]
