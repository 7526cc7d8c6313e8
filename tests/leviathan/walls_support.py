"""The site, its pod, and what a wrong setting says."""

from typing import Any

import pytest

from leviathan.errors import UsageError
from leviathan.manifests.rendering import render
from leviathan.site.load import load
from leviathan.site.schema import Site

DIGEST = f"sha256:{'1' * 64}"


def site(*settings: str) -> Site:
    return load(settings=[f"image.digest={DIGEST}", *settings]).site


def pod(*settings: str) -> dict[str, Any]:
    deployment = next(each for each in render(site(*settings), {}).objects if each["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def message(setting: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(settings=[setting])
    return str(caught.value)


def conflict(*settings: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(settings=settings)
    return str(caught.value)
