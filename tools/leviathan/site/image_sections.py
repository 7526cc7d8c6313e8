"""Sections of the site file: the registry, the image and its upload."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site import hints
from leviathan.site.keys import Key, between, like
from leviathan.site.patterns import DIGEST, HOST, NAME, REPOSITORY, TAG


@dataclass(frozen=True)
class Registry:
    """The registry that the image is pushed to."""

    host: Annotated[str, Key("host and port of the registry", **like(HOST, "192.168.3.10:5000"), hint=hints.host)]
    plain_http: Annotated[bool, Key("whether to use HTTP instead of HTTPS")]
    ca_file: Annotated[str, Key("PEM file with the registry's CA certificate; empty: the system's CAs")]


@dataclass(frozen=True)
class Image:
    """The image to deploy."""

    repository: Annotated[
        str, Key("repository in the registry", **like(REPOSITORY, "omni/engine"), hint=hints.repository)
    ]
    tag: Annotated[str, Key("tag to push", **like(TAG, "leviathan-standard"))]
    layout: Annotated[str, Key("folder with the OCI image layout", **like(r".+", "result"))]
    digest: Annotated[str, Key("digest to deploy; empty: the layout's", **like(f"({DIGEST})?", "sha256:64 hex"))]
    pull_secret: Annotated[str, Key("name of the imagePullSecret; empty: none", **like(f"({NAME})?", "registry-login"))]
    make_pull_secret: Annotated[
        bool, Key("whether apply creates that Secret from your registry login if it does not exist")
    ]


@dataclass(frozen=True)
class Push:
    """How the image is uploaded."""

    parallel: Annotated[int, Key("number of blobs to upload in parallel", **between(1, 32))]
    chunk_mib: Annotated[int, Key("MiB per request", **between(1, 1024, "MiB"))]
    retries: Annotated[int, Key("retries in a row that may transfer nothing", **between(0, 100))]
    timeout_s: Annotated[
        int, Key("seconds without an answer after which an attempt has failed", **between(1, 3600, "s"))
    ]
    heartbeat_s: Annotated[
        int, Key("seconds between progress lines if stderr is not a terminal", **between(1, 3600, "s"))
    ]
    mount_from: Annotated[tuple[str, ...], Key("other repositories in the registry that may already have blobs")]
