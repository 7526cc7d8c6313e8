"""Sections of the site file: the model's download, the start, the rollout and the smoke test."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site.keys import Key, between, each_like, like
from leviathan.site.patterns import ABSOLUTE, NAME, REPO, URL


@dataclass(frozen=True)
class Model:
    """Where the model comes from."""

    size_gb: Annotated[float, Key("bytes that one start reads, in GB (10^9 bytes)", **between(0.001, 1e5, "GB"))]
    repository: Annotated[
        str,
        Key("repository of a Hugging Face hub to download from", **like(f"({REPO})?", "unsloth/DeepSeek-R1-0528-GGUF")),
    ]
    revision: Annotated[str, Key("its branch, tag or commit", **like(r"[^\s]+", "main"))]
    include: Annotated[
        tuple[str, ...], Key("patterns of the files to download; none: *.gguf", **each_like(r"\S+", '["UD-Q2_K_XL/*"]'))
    ]
    urls: Annotated[
        tuple[str, ...],
        Key(
            "addresses to download from, in place of a repository",
            **each_like(r"https?://\S+", '["https://files.example/model.gguf#sha256=64 hex"]'),
        ),
    ]
    hub: Annotated[str, Key("address of the hub", **like(URL, "https://huggingface.co"))]
    token_secret: Annotated[
        str,
        Key("Secret with HF_TOKEN, HTTPS_PROXY, NO_PROXY for the download", **like(f"({NAME})?", "hub-token")),
    ]
    pod: Annotated[
        str,
        Key(
            "pod that downloads it; empty: the model is there",
            **like(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?", "sysadmin-logistics"),
        ),
    ]
    pod_namespace: Annotated[str, Key("its namespace; empty: cluster.namespace", **like(f"({NAME})?", "ai-workloads"))]
    done_marker: Annotated[str, Key("text in its log that ends the download", **like(r".+", "DOWNLOAD COMPLETE"))]
    idle_s: Annotated[int, Key("seconds without a word in its log until it counts as stuck", **between(1, 86400, "s"))]
    manifest: Annotated[str, Key("JSON file with names and sizes of the model's files; empty: not checked")]
    folder: Annotated[
        str,
        Key("the model's folder in that pod; empty: engine.model_path", **like(f"({ABSOLUTE})?", "/models/deepseek")),
    ]


@dataclass(frozen=True)
class Start:
    """What a start may take."""

    disk_mb_per_s: Annotated[float, Key("what the partition gives at least", **between(1, 1e5, "MB/s"))]
    network_mb_per_s: Annotated[float, Key("what the node pulls the image with", **between(0.1, 1e5, "MB/s"))]
    image_gb: Annotated[float, Key("compressed size of the image", **between(0.001, 1000, "GB"))]
    setup_s: Annotated[float, Key("engine start without reading weights", **between(0, 3600, "s"))]
    margin: Annotated[float, Key("factor on all of it", **between(1, 20))]


@dataclass(frozen=True)
class Rollout:
    """How long a rollout is waited for, and what it is given up for."""

    timeout_s: Annotated[int, Key("seconds for a whole rollout; 0: the start budget", **between(0, 86400, "s"))]
    idle_s: Annotated[int, Key("seconds without any change", **between(5, 86400, "s"))]
    patience_s: Annotated[int, Key("seconds that a reason to give up has to last", **between(0, 3600, "s"))]
    restarts: Annotated[int, Key("restarts of the engine after which it is given up", **between(1, 100))]
    log_lines: Annotated[int, Key("lines of the engine's log that a failure shows", **between(1, 10000))]
    heartbeat_s: Annotated[int, Key("seconds between two lines without a terminal", **between(1, 3600, "s"))]


@dataclass(frozen=True)
class Smoke:
    """What the endpoint is asked, and how good its answers have to be."""

    prompt: Annotated[str, Key("text to continue", **like(r"[\s\S]*\S[\s\S]*", "Count from one to ten:"))]
    max_tokens: Annotated[int, Key("tokens of an answer at most", **between(2, 4096))]
    min_tokens_per_s: Annotated[float, Key("tokens a second at least", **between(0, 1e6))]
    max_ttft_s: Annotated[float, Key("time to the first token at most", **between(0.001, 3600, "s"))]
    timeout_s: Annotated[int, Key("seconds for one answer", **between(1, 3600, "s"))]
    reach_s: Annotated[int, Key("seconds in which the port has to be open", **between(0, 600, "s"))]
    api_key_file: Annotated[str, Key("file with the endpoint's API key; empty: $LEVIATHAN_API_KEY, else none")]
