"""Turns the command line and the machine into the worker's command: disk, files, configuration, plan, CPU."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.environment import one_of
from leviathan_engine.errors import EngineError
from leviathan_engine.gguf import Model, read_model
from leviathan_engine.launcher import users
from leviathan_engine.launcher.flags import Settings, check_answers, check_split
from leviathan_engine.launcher.state_dir import State
from leviathan_engine.machine import cgroup, cpu, disk, disk_rate
from leviathan_engine.machine.gpus import gpus
from leviathan_engine.machine.meminfo import MEMINFO, meminfo
from leviathan_engine.model import chat_prompt as prompt
from leviathan_engine.model import chat_turns
from leviathan_engine.model.fingerprint import fingerprint
from leviathan_engine.model.hf_config import build
from leviathan_engine.model.known_templates import describe_template
from leviathan_engine.model.kv_b import engine_folder
from leviathan_engine.model.rendered_chat import ChatPrompt
from leviathan_engine.model.shape import ModelShape, read_shape
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.place import CHUNK
from leviathan_engine.plan.plan import visible_environment
from leviathan_engine.plan.planner import check_context
from leviathan_engine.plan.rule_file import rules_yaml
from leviathan_engine.plan.table import render
from leviathan_engine.wire import ServedModel

OTHER_TEMPLATE = "; to replace it, set engine.chat_template in the site file (flag: --chat_template)"
# Tokens of KV cache without a plan, that is with the user's own rule file.
UNPLANNED_CACHE = 8192
Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """The worker's command and environment, and what the front needs to know about the model."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    model: ServedModel


def prepare(settings: Settings, state: State, environ: Mapping[str, str], phase: Say, note: Say) -> Prepared:
    """Does everything that has to be done before the worker starts.

    `phase` is called with the name of each step, `note` with each line for the log. Errors: EngineError in one line.
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
        (hf / "chat_template.jinja").unlink(missing_ok=True)  # from an earlier start
        for text in folder.notes:
            note(text)
    _chat_template(hf, settings.chat_template, note)
    # Checked here, because the front would only notice after the load that it can answer no request.
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
    for text in filter(None, (threads.note, numa.warning, f"the CPU experts run the build for {march}")):
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
    """Returns the flag for the user that the worker switches to; nothing if that user cannot read all of `read`."""
    obstacle = users.engine_obstacle(state, read)
    try:
        if not obstacle:
            users.give_to_engine(state, settings.kv_dir)
    except OSError as err:
        obstacle = str(err)
    if obstacle:
        if os.geteuid() == 0:
            note(f"the engine runs as root: {obstacle}")
        return {}
    note(f"the engine runs as user {users.ENGINE}, without privileges")
    return {"--user": users.ENGINE}


def _chat_template(folder: Path, override: str | None, note: Say) -> None:
    """Writes the user's own template, if given, into the generated folder, and logs which template is used."""
    own = folder / "chat_template.jinja"
    try:
        if override is not None:
            own.write_text(override, encoding="utf-8")
    except OSError as err:
        raise EngineError(f"cannot write {own}: {err.strerror}", "set LEVIATHAN_STATE to a writable folder") from err
    source = prompt.template_source(folder)
    if source is None:
        note("the model has no chat template: requests to /v1/chat/completions are refused")
    else:
        note(f"{describe_template(source)}{'' if override is not None else OTHER_TEMPLATE}")


def _trial(prompts: prompt.Prompts) -> None:
    """Renders a chat of one message, because a template that cannot do that would make every chat request fail.

    Errors: EngineError.
    """
    if prompts.template is None:
        return
    try:
        prompts.rendered(ChatPrompt(({"role": "user", "content": "Hello"},)))
    except prompt.PromptError as err:
        raise EngineError(
            f"the chat template cannot render a chat of one message, so every chat would fail: {err.message}",
            "set engine.chat_template in the site file to another template (flag: --chat_template FILE)",
        ) from err


def gpu_experts(plan: Plan | None, environ: Mapping[str, str]) -> str:
    """Returns the bytes of resident experts for each GPU, as the worker's flag; none if LEVIATHAN_GPU_EXPERTS is 0.

    Errors: UsageError for another value than 0 or 1.
    """
    wanted = one_of(environ, "LEVIATHAN_GPU_EXPERTS", ("1", "0"))
    return ",".join(str(gpu.experts) for gpu in plan.gpus) if plan and wanted == "1" else "0"


def find_disk(path: Path, environ: Mapping[str, str], note: Say) -> None:
    """Mounts the model's partition if LEVIATHAN_DEVICE names one, or if `path` is missing below the mount point.

    Errors: DiskError.
    """
    device = environ.get("LEVIATHAN_DEVICE", "")
    point = Path(environ.get("LEVIATHAN_MOUNT_POINT") or "/models")
    if device or (not path.exists() and path.is_relative_to(point)):
        kind = environ.get("LEVIATHAN_FILESYSTEM") or "xfs"
        found = disk.provide(point, Path(device) if device else None, kind=kind)
        note(f"{found.point}: {found.how}")


def split_device(flags: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Returns the value of KTransformers' `--device X` or `--device=X`, "" if missing, and the other flags."""
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


def total_ram(report: Path = MEMINFO) -> int:
    """Returns the bytes of this machine's memory. Errors: EngineError if the kernel does not report them."""
    try:
        total = meminfo("MemTotal", report)
    except (OSError, ValueError):
        total = None
    if total is None:
        raise EngineError(f"cannot read MemTotal from {report}", "mount /proc in the container")
    return total


def _plan(settings: Settings, model: Model, cards: tuple[Gpu, ...], note: Say) -> Plan | None:
    """Returns the plan; None with the user's own rule file, which decides what goes where."""
    if settings.optimize_config_path is not None:
        check_context(settings.cache_lens or 1, read_shape(model))
        note("no placement plan: --optimize_config_path decides what goes where, and whether it fits is not checked")
        return None
    rate = disk_rate.measure([(part.path, part.file_size) for part in model.parts])
    if rate is not None:
        note(f"the model's disk reads {rate / 1e6:.0f} MB/s, measured on a sample of the model's files")
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
            raise EngineError(
                f"--optimize_config_path: no such file: {settings.optimize_config_path}", "correct the path"
            )
        return settings.optimize_config_path
    if plan is None:
        raise EngineError("--device cpu needs a rule file, and none is given", "add --optimize_config_path FILE")
    try:
        state.rules.write_text(rules_yaml(plan, model, shape), encoding="utf-8")
    except OSError as err:
        raise EngineError(
            f"cannot write {state.rules}: {err.strerror}", "set LEVIATHAN_STATE to a writable folder"
        ) from err
    return state.rules


def _cards(settings: Settings, plan: Plan | None, cards: tuple[Gpu, ...]) -> dict[str, str]:
    """Returns the variables for the worker's GPUs: those of the plan, or with a rule file all that --gpu_split uses."""
    if plan is not None:
        return plan.environment()
    shares = settings.split or (1,) * len(cards)
    used = [gpu.index for gpu, share in zip(cards, shares, strict=False) if share]
    return visible_environment(used) if used else {}
