"""From the command line and the machine to the engine's command: disk, files, configuration, plan, CPU."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import Model, read_model
from leviathan_engine.launcher import users
from leviathan_engine.launcher.flags import Settings, check_answers, check_split
from leviathan_engine.launcher.state_dir import State
from leviathan_engine.machine import cgroup, cpu, disk, disk_rate
from leviathan_engine.machine.gpus import gpus
from leviathan_engine.model import chat_prompt as prompt
from leviathan_engine.model import chat_turns
from leviathan_engine.model.fingerprint import fingerprint
from leviathan_engine.model.hf_config import build
from leviathan_engine.model.known_templates import describe_template
from leviathan_engine.model.kv_b import engine_folder
from leviathan_engine.model.shape import ModelShape, read_shape
from leviathan_engine.model.talk import ChatPrompt
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.place import CHUNK
from leviathan_engine.plan.plan import visible_environment
from leviathan_engine.plan.planner import check_context
from leviathan_engine.plan.rule_file import rules_yaml
from leviathan_engine.plan.table import render
from leviathan_engine.wire import ServedModel

MEMINFO = Path("/proc/meminfo")
OTHER_TEMPLATE = "; --chat_template (in the site file: engine.chat_template) replaces it"
# Tokens of cache where no plan says what fits: with a rule file of the user's own.
UNPLANNED_CACHE = 8192
Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """The engine's command and environment, and what the front must know."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    model: ServedModel


def prepare(settings: Settings, state: State, environ: Mapping[str, str], phase: Say, note: Say) -> Prepared:
    """Everything before the engine's start.

    `phase` hears what is being done, `note` what the user should read. Errors: EngineError in one line.
    """
    device, flags = split_device(settings.engine_args)
    cards: tuple[Gpu, ...] = ()
    if device != "cpu":
        phase("GPUs")
        cards = gpus(environ.get("CUDA_VISIBLE_DEVICES"))
        check_split(settings.split or (), len(cards))
    phase("disk")
    find_disk(settings.gguf_path, environ, note)
    phase("reading the header")
    model = read_model(settings.gguf_path)
    shape = read_shape(model)
    phase("configuration")
    hf = settings.config_path
    if hf is None:
        hf = state.hf
        folder = build(model)
        folder.write(hf)
        (hf / "chat_template.jinja").unlink(missing_ok=True)  # of an earlier start
        for text in folder.notes:
            note(text)
    _chat_template(hf, settings.chat_template, note)
    # Here, since the front would find only when the model is loaded that nobody can ask it anything.
    with contextlib.closing(prompt.load(hf)) as prompts:
        _trial(prompts)
        for text in chat_turns.notes(prompts):
            note(text)
    files = engine_folder(model, shape, state.gguf)
    phase("plan")
    plan = None if device == "cpu" else _plan(settings, model, cards, note)
    cache_lens = plan.cache_lens if plan else settings.cache_lens or min(UNPLANNED_CACHE, shape.context)
    check_answers(settings.max_new_tokens, cache_lens)
    rules = _rules(settings, plan, model, shape, state)
    cpus, cores = cpu.available(cgroup.limits().cpus), cpu.physical_cores()
    threads = cpu.threads(shape, settings.threads, cpus, cores)
    numa = cpu.interleave(cpu.numa_nodes())
    march = cpu.march(environ.get("LEVIATHAN_MARCH", ""))
    for text in filter(None, (threads.note, numa.warning, f"the CPU experts are those for {march}")):
        note(text)
    options = {
        "--socket": state.socket,
        "--reason": state.reason,
        "--home": state.home,
        "--hf": hf,
        "--gguf": files,
        "--rules": rules,
        "--cpu_infer": threads.count,
        "--cpu_infer_most": threads.most,
        "--threads_file": state.threads,
        "--cache_lens": cache_lens,
        "--chunk": plan.chunk if plan else CHUNK,
        "--gpu_experts": gpu_experts(plan, environ),
        "--device": device or "cuda:0",
        "--kv_ram": plan.cpu.kv_ram if plan else settings.kv_ram or 0,
    }
    if settings.kv_dir is not None:
        options |= {
            "--kv_dir": settings.kv_dir,
            "--kv_disk": settings.kv_disk,
            "--kv_version": fingerprint(model).hex(),
        }
    if settings.expert_counts is not None:
        options["--expert_counts"] = settings.expert_counts
    options |= _user(settings, state, (hf, *hf.iterdir(), rules, files, *(part.path for part in model.parts)), note)
    words = [word for pair in options.items() for word in map(str, pair)]
    words += ["--freeze_experts"] * settings.freeze_experts
    return Prepared(
        argv=(*numa.prefix, sys.executable, "-m", "leviathan_engine.worker", *words, "--", *flags),
        environment={k: v for k, v in environ.items() if k != "LEVIATHAN_API_KEY"}
        | state.environment()
        | {"LEVIATHAN_MARCH": march, "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS") or str(min(cpus, cores))}
        | _cards(settings, plan, cards),
        model=ServedModel(
            name=settings.model_name,
            folder=str(hf),
            cache_lens=cache_lens,
            max_prompt=plan.max_prompt if plan else cache_lens - 1,
            max_new_tokens=settings.max_new_tokens or cache_lens - 1,
            layers=shape.layers,
            total_bytes=model.tensor_bytes,
            start_seconds=plan.start_seconds if plan else None,
        ),
    )


def _user(settings: Settings, state: State, read: Iterable[Path], note: Say) -> dict[str, object]:
    """The user that the engine becomes, which owns what it writes and can read all of `read`; nothing if it cannot."""
    obstacle = users.engine_obstacle(state, read)
    try:
        if not obstacle:
            users.give_to_engine(state, settings.kv_dir)
    except OSError as err:
        obstacle = str(err)
    if obstacle:
        if os.geteuid() == 0:
            note(f"the engine stays root: {obstacle}")
        return {}
    note(f"the engine runs as user {users.ENGINE}, without privileges")
    return {"--user": users.ENGINE}


def _chat_template(folder: Path, override: str | None, note: Say) -> None:
    """Puts the user's own template into the folder that is made from the header, and says which one it will be."""
    own = folder / "chat_template.jinja"
    try:
        if override is not None:
            own.write_text(override, encoding="utf-8")
    except OSError as err:
        raise EngineError(f"{own}: {err.strerror}", "give a writable folder as LEVIATHAN_STATE") from err
    source = prompt.template_source(folder)
    if source is None:
        note("the model has no chat template: /v1/chat/completions is refused")
    else:
        note(f"{describe_template(source)}{'' if override is not None else OTHER_TEMPLATE}")


def _trial(prompts: prompt.Prompts) -> None:
    """Renders a chat of one message, since a template that cannot would make every chat an error of a healthy server.

    Errors: EngineError.
    """
    if prompts.template is None:
        return
    try:
        prompts.rendered(ChatPrompt(({"role": "user", "content": "Hello"},)))
    except prompt.PromptError as err:
        raise EngineError(
            f"a chat of one message cannot be rendered, so every chat would fail: {err.message}",
            "give another template: --chat_template FILE (in the site file: engine.chat_template)",
        ) from err


def gpu_experts(plan: Plan | None, environ: Mapping[str, str]) -> str:
    """Bytes of experts that stay on each card, for the worker; LEVIATHAN_GPU_EXPERTS=0 leaves them all to the CPU.

    Errors: EngineError for another value.
    """
    wanted = environ.get("LEVIATHAN_GPU_EXPERTS") or "1"
    if wanted not in ("0", "1"):
        raise EngineError(f"LEVIATHAN_GPU_EXPERTS={wanted[:40]!r}: expected 0 or 1", "correct it, or leave it out")
    return ",".join(str(gpu.experts) for gpu in plan.gpus) if plan and wanted == "1" else "0"


def find_disk(path: Path, environ: Mapping[str, str], note: Say) -> None:
    """Mounts the model's partition when LEVIATHAN_DEVICE names one, or when `path` is missing below the mount point.

    Errors: DiskError.
    """
    device = environ.get("LEVIATHAN_DEVICE", "")
    point = Path(environ.get("LEVIATHAN_MOUNT_POINT") or "/models")
    if device or (not path.exists() and path.is_relative_to(point)):
        kind = environ.get("LEVIATHAN_FILESYSTEM") or "xfs"
        found = disk.provide(point, Path(device) if device else None, kind=kind)
        note(f"{found.point}: {found.how}")


def split_device(flags: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """KTransformers' own `--device X` or `--device=X` among `flags`, "" for none, and the other flags."""
    rest: list[str] = []
    device = ""
    words = iter(flags)
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--device":
            device = value if equals else next(words, "")
        else:
            rest.append(word)
    return device, tuple(rest)


def total_ram(meminfo: Path = MEMINFO) -> int:
    """Bytes of this machine's memory. Errors: EngineError when the kernel does not say."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemTotal:"))
    except (OSError, ValueError, StopIteration) as err:
        raise EngineError(f"{meminfo}: MemTotal cannot be read", "mount /proc") from err


def _plan(settings: Settings, model: Model, cards: tuple[Gpu, ...], note: Say) -> Plan | None:
    """The plan; None beside a rule file of the user's, of which no plan knows where it puts what."""
    if settings.optimize_config_path is not None:
        check_context(settings.cache_lens or 1, read_shape(model))
        note("no plan is made: the rule file decides what is where, and nothing says whether it fits the memory")
        return None
    rate = disk_rate.measure([(part.path, part.file_size) for part in model.parts])
    if rate is not None:
        note(f"the disk gives {rate / 1e6:.0f} MB/s, by a sample of the model's files")
    machine = Machine(
        gpus=cards,
        ram=total_ram(),
        memory_limit=cgroup.limits().memory,
        numa_nodes=max(1, cpu.numa_nodes()),
        disk_rate=rate,
    )
    plan = make_plan(model, machine, Request(settings.cache_lens, settings.split, settings.kv_ram))
    note(render(plan).rstrip())
    return plan


def _rules(settings: Settings, plan: Plan | None, model: Model, shape: ModelShape, state: State) -> Path:
    if settings.optimize_config_path is not None:
        if not settings.optimize_config_path.is_file():
            raise EngineError(f"--optimize_config_path {settings.optimize_config_path}: no such file", "correct it")
        return settings.optimize_config_path
    if plan is None:
        raise EngineError("--device cpu has no rule file of its own", "give one with --optimize_config_path")
    try:
        state.rules.write_text(rules_yaml(plan, model, shape), encoding="utf-8")
    except OSError as err:
        raise EngineError(f"{state.rules}: {err.strerror}", "give a writable folder as LEVIATHAN_STATE") from err
    return state.rules


def _cards(settings: Settings, plan: Plan | None, cards: tuple[Gpu, ...]) -> dict[str, str]:
    """The engine's cards: the plan's, or beside a rule file all that are there or that --gpu_split gives memory."""
    if plan is not None:
        return plan.environment()
    shares = settings.split or (1,) * len(cards)
    used = [gpu.index for gpu, share in zip(cards, shares, strict=False) if share]
    return visible_environment(used) if used else {}
