"""Sections of the site file: the registry, the image and its upload."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site import hints
from leviathan.site.keys import Key, between, like
from leviathan.site.patterns import DIGEST, HOST, NAME, REPOSITORY, TAG


@dataclass(frozen=True)
class Registry:
    """Where the image goes."""

    host: Annotated[str, Key("registry, with its port", **like(HOST, "192.168.3.10:5000"), hint=hints.host)]
    plain_http: Annotated[bool, Key("whether the registry speaks HTTP instead of HTTPS")]
    ca_file: Annotated[str, Key("PEM file of the authority that signed its certificate; empty: the system's")]


@dataclass(frozen=True)
class Image:
    """Which image."""

    repository: Annotated[
        str, Key("repository on the registry", **like(REPOSITORY, "omni/engine"), hint=hints.repository)
    ]
    tag: Annotated[str, Key("tag that is set last", **like(TAG, "leviathan-standard"))]
    layout: Annotated[str, Key("folder with the OCI image layout", **like(r".+", "result"))]
    digest: Annotated[str, Key("digest that render pins; empty: the layout's", **like(f"({DIGEST})?", "sha256:64 hex"))]
    pull_secret: Annotated[
        str, Key("Secret that the kubelet pulls with; empty: none", **like(f"({NAME})?", "registry-login"))
    ]
    make_pull_secret: Annotated[bool, Key("whether apply makes that Secret from your registry login, if it is missing")]


@dataclass(frozen=True)
class Push:
    """How the image is uploaded."""

    parallel: Annotated[int, Key("blobs under way at once", **between(1, 32))]
    chunk_mib: Annotated[int, Key("MiB in one request", **between(1, 1024, "MiB"))]
    retries: Annotated[int, Key("attempts in a row without a new byte", **between(0, 100))]
    timeout_s: Annotated[int, Key("seconds without an answer", **between(1, 3600, "s"))]
    heartbeat_s: Annotated[int, Key("seconds between progress lines without a terminal", **between(1, 3600, "s"))]
    mount_from: Annotated[tuple[str, ...], Key("other repositories of the registry that may hold blobs")]
