"""Plans for the runbook's machine and others: what goes where, what is warned of, what is refused and by how much."""

import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan_engine.errors import PlanError
from leviathan_engine.gguf import ValueType, dump, read_model
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY, q4_k_m
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.__main__ import main
from leviathan_engine.plan.machine import GIB, MB
from leviathan_engine.plan.planner import LEAST_CHUNK
from leviathan_engine.plan.table import render

MODEL = q4_k_m()
PRO_6000 = Gpu(0, 97887 << 20, "RTX PRO 6000")
RTX_5090 = Gpu(1, 32607 << 20, "RTX 5090")
RUNBOOK = Machine(gpus=(PRO_6000, RTX_5090), ram=384 * GIB, memory_limit=360 * GIB, disk_rate=7e9, ram_rate=409.6e9)
SPLIT = (90000 * MB, 30000 * MB)
ROOMY = replace(RUNBOOK, memory_limit=None, ram=512 * GIB)


def check(plan: Plan) -> None:
    """What holds for every plan: all layers once, in order, one lm_head, nothing over its budget."""
    layers = [n for gpu in plan.gpus for n in range(gpu.first_layer, gpu.last_layer + 1)]
    assert layers == list(range(plan.layers))
    assert [gpu.device for gpu in plan.gpus] == [f"cuda:{n}" for n in range(len(plan.gpus))]
    assert sum(gpu.head for gpu in plan.gpus) == 1
    assert all(gpu.need.total <= gpu.budget <= gpu.memory for gpu in plan.gpus)
    assert 1 <= plan.max_prompt <= plan.cache_lens
    assert json.loads(json.dumps(plan.to_dict()))["max_prompt"] == plan.max_prompt


def test_the_runbooks_split_is_honoured() -> None:
    plan = make_plan(MODEL, RUNBOOK, Request(8192, SPLIT))
    check(plan)
    assert [gpu.index for gpu in plan.gpus] == [0, 1]
    # The fuller card is as little full as whole layers allow: about 90 to 30, so some 48 and 13 layers.
    assert 45 <= plan.gpus[0].last_layer <= 51
    assert plan.gpus[0].head
    assert (plan.max_prompt, plan.chunk) == (8191, 8192)
    # 61 layers 10,629,027,840 + final norm 14,336 + lm_head 760,166,400.
    assert sum(gpu.need.weights for gpu in plan.gpus) == 11_389_208_576
    assert sum(gpu.need.kv_cache for gpu in plan.gpus) == 8192 * 1152 * 61
    assert plan.environment() == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0,1"}


def test_experts_fill_the_cards_and_leave_the_memory() -> None:
    """Without experts on the cards the runbook's 360 GiB are 13.3 GiB too small."""
    plan = make_plan(MODEL, RUNBOOK, Request(8192, SPLIT))
    for gpu in plan.gpus:
        assert 0 < gpu.budget - gpu.need.total - gpu.experts < 2 << 30
    resident = sum(gpu.experts for gpu in plan.gpus)
    assert plan.resident_share == pytest.approx(resident / (366.93 * 2**30), rel=1e-4)
    assert plan.cpu.experts == pytest.approx(366.93 * 2**30 - resident, rel=1e-4)
    assert plan.warnings == ()
    # 12.312 GB a token at 409.6 GB/s, less what the cards have.
    assert plan.decode_bound == pytest.approx(33.27 / (1 - plan.resident_share), abs=0.01)


def test_a_memory_limit_that_is_too_small_all_the_same_is_warned_of() -> None:
    plan = make_plan(MODEL, replace(RUNBOOK, memory_limit=260 * 2**30), Request(8192, SPLIT))
    (page_cache,) = plan.warnings
    need = (plan.cpu.experts + plan.cpu.process) / 2**30
    assert f"limit of 260.0 GiB is {need - 260:.1f} GiB too small" in page_cache
    assert f"set resources.limits.memory to {math.ceil(need)}Gi or more" in page_cache


def test_without_a_split_all_cards_are_used_the_largest_first() -> None:
    plan = make_plan(MODEL, replace(ROOMY, gpus=(RTX_5090, replace(PRO_6000, index=5))), Request())
    check(plan)
    assert plan.visible == (5, RTX_5090.index)
    assert all(gpu.experts > 0 for gpu in plan.gpus)


def test_the_runbooks_cards_take_the_longest_prompt() -> None:
    plan = make_plan(MODEL, RUNBOOK, Request(split=SPLIT))
    check(plan)
    assert plan.cache_lens == DEEPSEEK_V3.context == 163_840
    for tokens in (32768, 65536):
        held = make_plan(MODEL, RUNBOOK, Request(tokens, SPLIT))
        assert (held.max_prompt, held.chunk) == (tokens - 1, 16384)
        assert not any("prompt" in text for text in held.warnings)


def test_more_cards_read_larger_chunks() -> None:
    # 11.84 GB of weights, 0.80 of context, 4.61 of KV, 0.68 of keys and 1.18 for a chunk: 19.1 GB for a cache of 64K.
    cards = tuple(Gpu(n, 19 * 10**9) for n in range(4))
    one = make_plan(MODEL, replace(ROOMY, gpus=cards[:1]), Request(65536))
    many = make_plan(MODEL, replace(ROOMY, gpus=cards), Request(65536))
    check(many)
    assert LEAST_CHUNK <= one.chunk < many.chunk == 16384
    assert len(many.gpus) == 4
    assert one.gpus[0].experts == 0 < many.gpus[0].experts


def test_a_32_gb_card_alone_reads_everything() -> None:
    plan = make_plan(MODEL, replace(ROOMY, gpus=(RTX_5090,)), Request())
    check(plan)
    assert (plan.cache_lens, plan.chunk) == (163_840, 16384)


def test_a_smaller_card_gets_as_much_cache_as_fits() -> None:
    plan = make_plan(MODEL, replace(ROOMY, gpus=(Gpu(0, 24 * 10**9),)), Request())
    check(plan)
    # 23.28 GB less 11.39 of weights, 0.80 of context and 2.13 for a chunk leave 8.96 GB: 127,500 tokens of 70,272 B.
    assert (plan.cache_lens, plan.chunk) == (126_976, 4096)
    # Less than 32K tokens would fit with chunks of 4096: smaller ones make room.
    small = make_plan(MODEL, replace(ROOMY, gpus=(Gpu(0, 17 * 10**9),)), Request())
    check(small)
    assert small.chunk < 4096
    assert small.cache_lens >= 32768


def test_a_split_in_the_other_order_is_matched_by_size() -> None:
    machine = replace(ROOMY, gpus=(replace(RTX_5090, index=0), replace(PRO_6000, index=1)))
    plan = make_plan(MODEL, machine, Request(8192, SPLIT))
    check(plan)
    assert plan.visible == (1, 0)
    assert plan.environment()["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert plan.warnings[0].endswith("assigned by size: 90000 MB on GPU 1, 30000 MB on GPU 0")


def test_a_zero_in_the_split_leaves_the_card_out() -> None:
    plan = make_plan(MODEL, ROOMY, Request(8192, (0, 30000 * MB)))
    check(plan)
    assert plan.visible == (1,)


def test_conversations_get_the_memory_that_experts_leave_or_what_is_asked() -> None:
    """280 GiB leave none, 512 GiB leave more than the bound; what is asked for goes before experts."""
    machine = replace(RUNBOOK, memory_limit=280 * GIB)
    tight = make_plan(MODEL, machine, Request())
    assert tight.cpu.kv_ram == 0
    assert make_plan(MODEL, ROOMY, Request()).cpu.kv_ram == 16 * 10**9
    asked = make_plan(MODEL, machine, Request(kv_ram=10 * GIB))
    assert asked.cpu.room == tight.cpu.room - 10 * GIB
    short = (asked.cpu.experts - asked.cpu.room) / GIB
    assert any(f"is {short:.1f} GiB too small" in text and "16.4 GiB of the process" in text for text in asked.warnings)
    assert "conversations 10.0 GiB" in render(asked)


def test_numa_is_noted() -> None:
    plan = make_plan(MODEL, replace(ROOMY, numa_nodes=2), Request())
    assert any("2 NUMA nodes" in w and "numactl --interleave=all" in w for w in plan.warnings)


REFUSED = [
    (replace(ROOMY, gpus=()), Request(), "no GPU is visible"),
    (ROOMY, Request(8192, (MB, MB, MB)), "has 3 numbers, but there are 2 GPUs"),
    (
        ROOMY,
        Request(8192, (90000 * MB, 90000 * MB)),
        r"90000 MB are 55810 MB more than the GPU has \(GPUs: 102641",
    ),
    (ROOMY, Request(8192, (0, 0)), "gives every GPU 0 MB"),
    (ROOMY, Request(200000), "--cache_lens: expected 1 to 163840 tokens, .*, got 200000; set --cache_lens to at most"),
    (ROOMY, Request(0), "got 0"),
    (
        replace(ROOMY, ram=128 * GIB),
        Request(),
        r"experts that do not fit on the GPUs need 279\.7 GiB.*158\.1 GiB are missing.*more memory",
    ),
    (replace(ROOMY, memory_limit=16 * GIB), Request(), r"loading needs 17\.8 GiB.*1\.8 GiB are missing; raise"),
]


@pytest.mark.parametrize(("machine", "request_", "text"), REFUSED)
def test_what_cannot_fit_says_by_how_much(machine: Machine, request_: Request, text: str) -> None:
    with pytest.raises(PlanError, match=text) as caught:
        make_plan(MODEL, machine, request_)
    assert "\n" not in caught.value.line()
    assert caught.value.remedy


def test_a_card_that_is_too_small_says_by_how_much_and_which_cache_fits() -> None:
    machine = replace(ROOMY, gpus=(Gpu(0, 17 * 10**9),))
    with pytest.raises(PlanError, match="set --cache_lens to") as caught:
        make_plan(MODEL, machine, Request(65536))
    # 11.389 + 0.797 of context + 4.605 of KV + 0.944 of keys and a weight + 512 * 288,768 B = 17.88 GB for 16.49.
    assert "16.5 GB of GPU memory are 1.39 GB too few" in str(caught.value)
    cache = int(str(caught.value).split("--cache_lens to ")[1].split(",")[0])
    assert make_plan(MODEL, machine, Request(cache)).chunk >= LEAST_CHUNK
    with pytest.raises(PlanError):
        make_plan(MODEL, machine, Request(cache + 1024))
    with pytest.raises(PlanError, match="too few") as caught:
        make_plan(MODEL, replace(ROOMY, gpus=(Gpu(0, 8 * 10**9),)), Request())
    assert "cache_lens to" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=8),
    shares=st.lists(st.integers(0, 100), max_size=8),
    cache=st.integers(64, 163840),
)
def test_any_machine_gets_a_sound_plan_or_one_line(sizes: list[int], shares: list[int], cache: int) -> None:
    gpus = tuple(Gpu(n, size * GIB) for n, size in enumerate(sizes))
    split = tuple(share * GIB for share in shares) or None
    try:
        check(make_plan(MODEL, replace(ROOMY, gpus=gpus), Request(cache, split)))
    except PlanError as err:
        assert "\n" not in err.line()  # noqa: PT017


def test_more_gpus_than_layers() -> None:
    machine = Machine(gpus=tuple(Gpu(n, 4 * GIB) for n in range(8)), ram=64 * GIB)
    with pytest.raises(PlanError, match="8 GPUs are more than the model's 4 layers"):
        make_plan(q4_k_m(TINY), machine, Request(1024, (GIB,) * 8))
    check(make_plan(q4_k_m(TINY), machine, Request(1024)))


def test_the_table_shows_the_plan() -> None:
    text = render(make_plan(MODEL, RUNBOOK, Request(8192, SPLIT)))
    for piece in (
        "cuda:0 RTX PRO 6000",
        "in chunks of 8192",
        "90.00 GB",
        "resident experts",
        "of the experts are resident",
        "44.1 tokens/s",
    ):
        assert piece in text
    unknown = render(make_plan(MODEL, replace(RUNBOOK, disk_rate=None, ram_rate=None), Request()))
    assert "start: unknown (no disk rate)" in unknown


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    base = ["--gpus", "102642,34190", "--ram", "384", "--memory_limit", "360"]
    assert main([*base, "--json", "--gpu_split", "90000,30000", "--disk_rate", "7000"]) == 0
    assert [gpu["device"] for gpu in json.loads(capsys.readouterr().out)["gpus"]] == ["cuda:0", "cuda:1"]
    path = tmp_path / "v3.json"
    path.write_text(dump.dump(MODEL), encoding="utf-8")
    assert main([str(path), *base]) == 0
    assert "61 layers" in capsys.readouterr().out
    assert main([*base, "--rules"]) == 0
    assert "KDeepseekV2Model" in capsys.readouterr().out
    assert main([*base, "--gpu_split", "90000,-1"]) == 2
    assert main([str(tmp_path / "no.json"), *base]) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.count("\n") == 2
    assert "got '-1'" in out.err


@pytest.fixture(scope="module")
def header_671b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the whole header of DeepSeek-V3, vocabulary and all, and 404 GB of holes."""
    path = tmp_path_factory.mktemp("v3") / "DeepSeek-V3-Q4_K_M.gguf"
    tokens = [f"token{n:06d}" for n in range(DEEPSEEK_V3.vocab)]
    meta: dict[str, Typed] = {
        "tokenizer.ggml.tokens": (ValueType.ARRAY, ValueType.STRING, tokens),
        "tokenizer.ggml.token_type": (ValueType.ARRAY, ValueType.INT32, [1] * len(tokens)),
        "tokenizer.ggml.merges": (ValueType.ARRAY, ValueType.STRING, [f"tok en{n:06d}" for n in range(127741)]),
    }
    kinds = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
    for key, value in MODEL.metadata.items():
        meta[key] = (kinds[type(value)], value)
    tensors = [(t.name, t.shape, t.type) for t in MODEL.tensors.values()]
    # write_gguf wants every tensor's bytes: none are written here, the file is made as long as they would be.
    with pytest.raises(ValueError, match="0 bytes"):
        write_gguf(path, meta, tensors, (b"" for _ in tensors))
    try:
        os.truncate(path, path.stat().st_size + sum(-(-t.nbytes // 32) * 32 for t in MODEL.tensors.values()))
    except OSError as err:
        pytest.skip(f"this file system takes no file of 404 GB with holes: {err}")
    return path


def test_reading_and_planning_671b_takes_less_than_a_second(header_671b: Path) -> None:
    seconds = []
    for _ in range(3):
        start = time.process_time()  # of this process: the machine may be busy with other things
        plan = make_plan(read_model(header_671b), replace(RUNBOOK, gpus=(PRO_6000, RTX_5090) * 4), Request(131072))
        seconds.append(time.process_time() - start)
    assert round(plan.file_bytes / 1e9, 1) == 404.4
    assert min(seconds) < 1.0, seconds
