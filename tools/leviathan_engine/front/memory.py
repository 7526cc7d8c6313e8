"""What /metrics looks up at the moment it is asked: load progress, queue, VRAM, RAM."""

from pathlib import Path

from prometheus_client.core import GaugeMetricFamily

from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.machine import cgroup

from .metrics import gauge
from .status import Status

PROC = Path("/proc")
# What the worker may say of itself, with each `memory` message.
WORKERS = {
    "leviathan_cache_pages": "Pages of the KV cache.",
    "leviathan_cache_pages_used": "Pages of the KV cache that hold tokens, those of earlier prompts included.",
    "leviathan_cache_pages_parked": "Pages of the KV cache that are kept in main memory.",
    "leviathan_cache_pages_evicted": "Pages that had to leave the GPUs since the start.",
    "leviathan_cache_pages_dropped": "Pages that left main memory before the disk of --kv_dir had them.",
    "leviathan_expert_hit_ratio": "Part of the experts' uses that found the expert on a GPU.",
}


def gauges(status: Status, queue: FairQueue) -> list[GaugeMetricFamily]:
    """The gauges. Sizes in bytes, times in seconds; what cannot be known is left out."""
    model = status.model
    estimate = status.estimate()
    out = [
        gauge("leviathan_ready", "1 when the model answers.", float(status.ready)),
        gauge("leviathan_load_bytes", "Bytes of the model that are loaded.", status.loaded),
        gauge("leviathan_load_read_bytes", "Bytes of the model's files that were read ahead.", status.read),
        gauge("leviathan_load_total_bytes", "Bytes of the model's files.", model.total_bytes if model else 0),
        gauge("leviathan_load_layers", "Layers that are loaded.", status.layers),
        gauge("leviathan_load_ratio", "The part of the model that is loaded.", status.share),
        gauge("leviathan_queue_waiting", "Requests that wait.", queue.waiting),
        gauge("leviathan_running", "Requests that are generated.", float(queue.busy)),
    ]
    done, whole = (sum(getattr(one, name) for one in status.prompts.values()) for name in ("done", "total"))
    share = done / whole if whole else 1.0
    out += [
        gauge("leviathan_prompt_read_tokens", "Tokens in the cache of the prompts that are being read.", done),
        gauge("leviathan_prompt_read_total_tokens", "Tokens of the prompts that are being read.", whole),
        gauge("leviathan_prompt_read_ratio", "The part of them that is read; 1 for none.", share),
    ]
    if estimate is not None:
        out.append(gauge("leviathan_load_estimate_seconds", "Until the model answers.", estimate))
    if model:
        waiting, running = float(queue.waiting), float(queue.busy)
        out.append(gauge("vllm:num_requests_waiting", "Requests that wait.", waiting, model_name=model.name))
        out.append(gauge("vllm:num_requests_running", "Requests that are generated.", running, model_name=model.name))
    if status.threads:
        out.append(gauge("leviathan_cpu_threads", "Threads of the CPU experts (--cpu_infer).", status.threads["count"]))
        if status.threads["rate"] is not None:
            text = "Bytes of experts that the CPU reads a second, measured at a start."
            out.append(gauge("leviathan_cpu_experts_bytes_per_second", text, status.threads["rate"]))
    vram = status.memory.get("vram", [])
    if vram:
        used = GaugeMetricFamily("leviathan_vram_used_bytes", "Memory of a GPU that is in use.", labels=("gpu",))
        total = GaugeMetricFamily("leviathan_vram_total_bytes", "Memory of a GPU.", labels=("gpu",))
        for card in vram:
            used.add_metric((str(card["gpu"]),), card["used"])
            total.add_metric((str(card["gpu"]),), card["total"])
        out += [used, total]
    said = status.memory.get("gauges", {})
    out += [gauge(name, text, said[name]) for name, text in WORKERS.items() if name in said]
    if model and (pages := said.get("leviathan_cache_pages")):
        share = said.get("leviathan_cache_pages_used", 0) / pages
        out.append(gauge("vllm:kv_cache_usage_perc", "The part of the KV cache in use.", share, model_name=model.name))
    rss = resident(status.memory.get("pid"))
    if rss is not None:
        out.append(gauge("leviathan_engine_resident_bytes", "RAM of the engine, mapped pages included.", rss))
    group = cgroup.memory_used()
    if group is not None:
        out.append(gauge("leviathan_memory_bytes", "Memory of the container, page cache included.", group))
    return out


def resident(pid: object, proc: Path = PROC) -> int | None:
    """Bytes of RAM of a process; None when there is none."""
    try:
        lines = (proc / str(int(str(pid))) / "status").read_text().splitlines()
    except (OSError, ValueError):
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:")), None)
