"""Sections of the site file: the model's download, the start, the rollout and the smoke test."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site.keys import Key, between, each_like, like
from leviathan.site.patterns import ABSOLUTE, NAME, REPO, URL


@dataclass(frozen=True)
class Model:
    """The model's files and their download."""

    size_gb: Annotated[float, Key("size of the model in GB (10^9 bytes)", **between(0.001, 1e5, "GB"))]
    repository: Annotated[
        str,
        Key("Hugging Face repository to download from", **like(f"({REPO})?", "unsloth/DeepSeek-R1-0528-GGUF")),
    ]
    revision: Annotated[str, Key("branch, tag or commit of the repository", **like(r"[^\s]+", "main"))]
    include: Annotated[
        tuple[str, ...], Key("patterns of files to download; empty: *.gguf", **each_like(r"\S+", '["UD-Q2_K_XL/*"]'))
    ]
    urls: Annotated[
        tuple[str, ...],
        Key(
            "URLs to download from, instead of a repository",
            **each_like(r"https?://\S+", '["https://files.example/model.gguf#sha256=64 hex"]'),
        ),
    ]
    hub: Annotated[str, Key("URL of the Hugging Face hub", **like(URL, "https://huggingface.co"))]
    token_secret: Annotated[
        str,
        Key("Secret with HF_TOKEN, HTTPS_PROXY, NO_PROXY for the download", **like(f"({NAME})?", "hub-token")),
    ]
    pod: Annotated[
        str,
        Key(
            "existing pod that downloads the model; empty: none",
            **like(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?", "sysadmin-logistics"),
        ),
    ]
    pod_namespace: Annotated[
        str, Key("namespace of that pod; empty: cluster.namespace", **like(f"({NAME})?", "ai-workloads"))
    ]
    done_marker: Annotated[
        str, Key("text in that pod's log that marks the end of the download", **like(r".+", "DOWNLOAD COMPLETE"))
    ]
    idle_s: Annotated[
        int, Key("seconds without a log line after which the download counts as stuck", **between(1, 86400, "s"))
    ]
    manifest: Annotated[str, Key("JSON file with the names and sizes of the model's files; empty: not checked")]
    folder: Annotated[
        str,
        Key("the model's folder in that pod; empty: engine.model_path", **like(f"({ABSOLUTE})?", "/models/deepseek")),
    ]


@dataclass(frozen=True)
class Start:
    """The figures that the start budget is computed from."""

    disk_mb_per_s: Annotated[float, Key("minimum read rate of the model's storage", **between(1, 1e5, "MB/s"))]
    network_mb_per_s: Annotated[float, Key("rate at which the node pulls the image", **between(0.1, 1e5, "MB/s"))]
    image_gb: Annotated[float, Key("compressed size of the image", **between(0.001, 1000, "GB"))]
    setup_s: Annotated[float, Key("start time of the engine without reading weights", **between(0, 3600, "s"))]
    margin: Annotated[float, Key("safety factor for the whole start budget", **between(1, 20))]


@dataclass(frozen=True)
class Rollout:
    """How long to wait for a rollout, and when to give up."""

    timeout_s: Annotated[int, Key("total time limit in seconds; 0: the start budget", **between(0, 86400, "s"))]
    idle_s: Annotated[int, Key("seconds without progress after which to give up", **between(5, 86400, "s"))]
    patience_s: Annotated[int, Key("seconds that a problem must persist before giving up", **between(0, 3600, "s"))]
    restarts: Annotated[int, Key("restarts of the engine after which to give up", **between(1, 100))]
    log_lines: Annotated[int, Key("lines of the engine's log to show on failure", **between(1, 10000))]
    heartbeat_s: Annotated[
        int, Key("seconds between progress lines if stderr is not a terminal", **between(1, 3600, "s"))
    ]


@dataclass(frozen=True)
class Smoke:
    """The prompt and the limits of the smoke test."""

    prompt: Annotated[str, Key("prompt to complete", **like(r"[\s\S]*\S[\s\S]*", "Count from one to ten:"))]
    max_tokens: Annotated[int, Key("maximum tokens of an answer", **between(2, 4096))]
    min_tokens_per_s: Annotated[float, Key("minimum tokens per second", **between(0, 1e6))]
    max_ttft_s: Annotated[float, Key("maximum time to first token", **between(0.001, 3600, "s"))]
    timeout_s: Annotated[int, Key("time limit of one answer in seconds", **between(1, 3600, "s"))]
    reach_s: Annotated[int, Key("seconds to wait until the port accepts connections", **between(0, 600, "s"))]
    api_key_file: Annotated[str, Key("file with the endpoint's API key; empty: $LEVIATHAN_API_KEY, else no key")]
