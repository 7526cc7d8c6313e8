"""The gauges that /metrics reads at each scrape: load progress, queue, VRAM, RAM."""

from pathlib import Path

from prometheus_client.core import GaugeMetricFamily

from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.machine import cgroup

from .metrics import gauge
from .status import Status

PROC = Path("/proc")
# Gauges that the worker may send with a `memory` message.
WORKERS = {
    "leviathan_cache_pages": "Pages of the KV cache on the GPUs.",
    "leviathan_cache_pages_used": "Pages of the KV cache that hold tokens, including those of earlier prompts.",
    "leviathan_cache_pages_parked": "Pages of the KV cache that are kept in main memory.",
    "leviathan_cache_pages_evicted": "Pages evicted from the GPUs since the start.",
    "leviathan_cache_pages_dropped": "Pages dropped from main memory before they were written to --kv_dir.",
    "leviathan_expert_hit_ratio": "Share of expert uses that were served by an expert on a GPU.",
}


def gauges(status: Status, queue: FairQueue) -> list[GaugeMetricFamily]:
    """Returns the gauges. Sizes are in bytes, times in seconds; unknown values are left out."""
    model = status.model
    estimate = status.estimate()
    out = [
        gauge("leviathan_ready", "1 if the model is loaded and serving.", float(status.ready)),
        gauge("leviathan_load_bytes", "Bytes of the model that are loaded.", status.loaded),
        gauge("leviathan_load_read_bytes", "Bytes of the model's files that were read ahead.", status.read),
        gauge("leviathan_load_total_bytes", "Bytes of the model's files.", model.total_bytes if model else 0),
        gauge("leviathan_load_layers", "Layers that are loaded.", status.layers),
        gauge("leviathan_load_ratio", "Share of the model that is loaded.", status.share),
        gauge("leviathan_queue_waiting", "Requests in the queue.", queue.waiting),
        gauge("leviathan_running", "Requests whose answer is being generated.", float(queue.busy)),
    ]
    done, whole = (sum(getattr(one, name) for one in status.prompts.values()) for name in ("done", "total"))
    share = done / whole if whole else 1.0
    out += [
        gauge("leviathan_prompt_read_tokens", "Tokens read so far of the prompts that are being read.", done),
        gauge("leviathan_prompt_read_total_tokens", "Tokens of the prompts that are being read.", whole),
        gauge("leviathan_prompt_read_ratio", "Share of those prompts that is read; 1 if none is being read.", share),
    ]
    if estimate is not None:
        out.append(gauge("leviathan_load_estimate_seconds", "Estimated seconds until the model is ready.", estimate))
    if model:
        waiting, running = float(queue.waiting), float(queue.busy)
        out.append(gauge("vllm:num_requests_waiting", "Requests in the queue.", waiting, model_name=model.name))
        out.append(
            gauge(
                "vllm:num_requests_running", "Requests whose answer is being generated.", running, model_name=model.name
            )
        )
    if status.threads:
        out.append(gauge("leviathan_cpu_threads", "Threads of the CPU experts (--cpu_infer).", status.threads["count"]))
        if status.threads["rate"] is not None:
            text = "Bytes of experts that the CPU reads per second, measured at the start."
            out.append(gauge("leviathan_cpu_experts_bytes_per_second", text, status.threads["rate"]))
    vram = status.memory.get("vram", [])
    if vram:
        used = GaugeMetricFamily("leviathan_vram_used_bytes", "GPU memory in use.", labels=("gpu",))
        total = GaugeMetricFamily("leviathan_vram_total_bytes", "Total GPU memory.", labels=("gpu",))
        for card in vram:
            used.add_metric((str(card["gpu"]),), card["used"])
            total.add_metric((str(card["gpu"]),), card["total"])
        out += [used, total]
    said = status.memory.get("gauges", {})
    out += [gauge(name, text, said[name]) for name, text in WORKERS.items() if name in said]
    if model and (pages := said.get("leviathan_cache_pages")):
        share = said.get("leviathan_cache_pages_used", 0) / pages
        out.append(gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use.", share, model_name=model.name))
    rss = resident(status.memory.get("pid"))
    if rss is not None:
        out.append(
            gauge("leviathan_engine_resident_bytes", "Resident memory of the engine, including mapped pages.", rss)
        )
    group = cgroup.memory_used()
    if group is not None:
        out.append(gauge("leviathan_memory_bytes", "Memory of the container, including page cache.", group))
    return out


def resident(pid: object, proc: Path = PROC) -> int | None:
    """Returns the resident bytes of a process, None if it does not exist."""
    try:
        lines = (proc / str(int(str(pid))) / "status").read_text().splitlines()
    except (OSError, ValueError):
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:")), None)
