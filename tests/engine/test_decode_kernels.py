"""The kernels of a decode step on the CPU, thread by thread (kernels_on_cpu/device), against float64.

Indices, barriers, rounding and the order of sums are the GPU's. Speed and instructions are for tests/gpu/decode.py to
prove. Needs a C++ compiler and the sources: this repository's, or those in the folder LEVIATHAN_KERNELS.
"""

import ctypes
from typing import Any

import numpy as np
import pytest
from test_kernels_on_cpu import HERE, KERNELS, compiled, pytestmark  # noqa: F401  (the same reason to skip)

from leviathan_engine.gguf.quants import dequantize
from leviathan_engine.gguf.types import GgmlType

KINDS = [GgmlType[name] for name in ("Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")]
# Of float32 sums over a few thousand products, as a share of the sum of their sizes.
FLOAT = 2e-6
# Half a step of a group of 32 values, as a share of its largest: what quantising a value may change.
HALF_STEP = {1: 0.5 / 127, 2: 0.5 / 32512}
DEFAULT, SPLIT = 0, 4212
Array = Any


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Both sources as one library for the CPU."""
    out = tmp_path_factory.mktemp("kernels") / "decode.so"
    words = ["-shared", "-fPIC", "-Wno-unknown-pragmas", f"-I{HERE / 'device'}", f"-I{KERNELS}"]
    for name in ("gguf_decode.cu", "decode_steps.cu"):
        words += ["-x", "c++", str(KERNELS / name)]
    return ctypes.CDLL(str(compiled(out, *words)))


def address(array: Array) -> ctypes.c_void_p:
    """Of numbers that lie at a multiple of 16."""
    assert array.ctypes.data % 16 == 0
    return ctypes.c_void_p(array.ctypes.data)


def room(count: int, kind: Any, fill: float | None = None) -> Array:
    """`count` numbers at a multiple of 64."""
    raw = np.zeros(count * np.dtype(kind).itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + count * np.dtype(kind).itemsize].view(kind)
    if fill is not None:
        out[:] = fill
    return out


def put(values: Array, kind: Any) -> Array:
    """A copy at a multiple of 64."""
    out = room(values.size, kind)
    out[:] = values.reshape(-1)
    return out


def to_bf16(values: Array) -> Array:
    """Rounded to bfloat16, as 16 bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return put(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16), np.uint16)


def from_bf16(bits: Array) -> Array:
    """float64 of bfloat16's bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def blocks(kind: GgmlType, rows: int, cols: int, seed: int) -> Array:
    """Random blocks with scales that are numbers."""
    random = np.random.default_rng(seed)
    raw = random.integers(0, 256, (rows * cols // kind.block, kind.size), dtype=np.uint8)
    places = {
        "Q8_0": (0,),
        "Q2_K": (80, 82),
        "Q3_K": (108,),
        "Q4_K": (0, 2),
        "Q5_K": (0, 2),
        "Q6_K": (208,),
        "IQ4_XS": (0,),
    }
    for at in places[kind.name]:
        halves = random.uniform(0.001, 0.01, len(raw)).astype(np.float16)
        raw[:, at : at + 2] = halves.view(np.uint8).reshape(-1, 2)
    return put(raw, np.uint8)


def floats(kind: GgmlType, raw: Array, rows: int) -> Array:
    """(rows, cols) in float64."""
    return dequantize(raw.reshape(-1, kind.size), kind).astype(np.float64).reshape(rows, -1)


def vector_bytes(planes: int, cols: int) -> int:
    """As gguf_dots.h has it."""
    return planes * cols + cols // 32 * 4 + cols // 16 * 4


def quantised(kernels: ctypes.CDLL, values: Array, planes: int) -> Array:
    """float32 values as the kernel quantises them."""
    out = room(vector_bytes(planes, values.size), np.int8)
    given = put(values, np.float32)
    assert kernels.leviathan_quantise(planes, address(given), 1, values.size, address(out), None) == 0
    return out


def read_back(vector: Array, planes: int, cols: int) -> Array:
    """The values that a quantised vector stands for; its sums are checked on the way."""
    q = vector[:cols].astype(np.float64)
    if planes == 2:
        q = 256 * q + vector[cols : 2 * cols]
    scales = vector[planes * cols : planes * cols + cols // 8].view(np.float32).astype(np.float64)
    values = q * np.repeat(scales, 32)
    sums = vector[planes * cols + cols // 8 :].view(np.float32)
    assert np.allclose(sums, values.reshape(-1, 16).sum(1), rtol=1e-6, atol=1e-6 * scales.max())
    return values


def sample(cols: int, seed: int) -> Array:
    """Values with an outlier and a group of zeros, as hidden states have them."""
    values = np.random.default_rng(seed).standard_normal(cols).astype(np.float32)
    values[5] = 300
    values[32:64] = 0
    return values


@pytest.mark.parametrize("planes", [1, 2])
def test_a_vector_is_within_half_a_step(kernels: ctypes.CDLL, planes: int) -> None:
    values = sample(512, 1)
    back = read_back(quantised(kernels, values, planes), planes, 512)
    most = np.repeat(np.abs(values).reshape(-1, 32).max(1), 32)
    assert np.all(np.abs(back - values) <= most * HALF_STEP[planes] * 1.001)
    assert np.any(np.abs(back - values) > most * HALF_STEP[planes] * 0.5)  # the bound is not a loose one


def test_a_number_that_is_none_stays_seen(kernels: ctypes.CDLL) -> None:
    values = sample(256, 1)
    values[100] = np.nan
    vector = quantised(kernels, values, 2)
    assert np.isnan(vector[512 : 512 + 32].view(np.float32)[3])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("variant", [DEFAULT, SPLIT])
def test_rows_times_a_vector(kernels: ctypes.CDLL, kind: GgmlType, variant: int) -> None:
    """Two weights one after the other, rows that no block of threads divides; each way to leave the answer."""
    cols, rows = 1536, (13, 6)
    first, second = (blocks(kind, n, cols, 3 + n) for n in rows)
    vector = quantised(kernels, sample(cols, 7), 2)
    x = read_back(vector, 2, cols)
    weight = np.concatenate([floats(kind, first, rows[0]), floats(kind, second, rows[1])])
    wanted, size = weight @ x, np.abs(weight) @ np.abs(x)
    base = to_bf16(np.random.default_rng(1).standard_normal(19).astype(np.float32) * 5)
    for mode, out in enumerate((room(19, np.float32), room(19, np.uint16), room(19, np.uint16))):
        code = kernels.leviathan_multiply(
            *(kind, variant, address(first), rows[0], address(second), 19, cols, address(vector)),
            *(address(out), address(base), mode, None),
        )
        assert code == 0
        if mode == 0:
            assert np.all(np.abs(out - wanted) <= FLOAT * size), kind.name
        else:
            exact = wanted + (from_bf16(base) if mode == 2 else 0)
            assert np.all(np.abs(from_bf16(out) - exact) <= np.abs(exact) * 2**-8 + FLOAT * size)
    assert not np.allclose(weight[::-1] @ x, wanted, rtol=0.1)


@pytest.mark.parametrize("variant", [DEFAULT, 4211, 4221])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_experts_of_one_token(kernels: ctypes.CDLL, kind: GgmlType, variant: int) -> None:
    """Three choices, one of them elsewhere: its hidden vector is not written; `out` is added to."""
    width, hidden, slots = 256, 512, np.array([2, -1, 0], np.int32)
    weights = [blocks(kind, 4 * width, hidden, 11 + i) for i in range(3)]
    stride = weights[0].size // 4
    vector, scales = quantised(kernels, sample(hidden, 3), 2), put(np.array([0.5, 7, 0.25]), np.float32)
    inner = room(3 * vector_bytes(2, width), np.int8, 77)
    given = put(slots, np.int32)
    code = kernels.leviathan_gate_up_one(
        *(kind, variant, address(weights[0]), address(weights[1]), ctypes.c_long(stride), address(given)),
        *(address(vector), address(inner), 3, width, hidden, None),
    )
    assert code == 0
    x, size = read_back(vector, 2, hidden), vector_bytes(2, width)
    assert np.all(inner[size : 2 * size] == 77)
    out = room(hidden, np.float32, 3.0)
    code = kernels.leviathan_down_one(
        *(kind, variant, address(weights[2]), ctypes.c_long(stride), address(given), address(scales), address(inner)),
        *(address(out), 3, hidden, width, None),
    )
    assert code == 0
    answer, bound = np.full(hidden, 3.0), np.full(hidden, 3.0)
    for choice in (0, 2):
        rows = (width, width, hidden)
        gate, up, down = (floats(kind, w.reshape(4, -1)[slots[choice]], n) for w, n in zip(weights, rows, strict=True))
        g = gate @ x
        value = g / (1 + np.exp(-g)) * (up @ x)
        kept = read_back(inner[choice * size : (choice + 1) * size].copy(), 2, width)
        most = np.repeat(np.abs(value).reshape(-1, 32).max(1), 32)
        error = FLOAT * (np.abs(gate) @ np.abs(x) * np.abs(up @ x) + np.abs(up) @ np.abs(x) * np.abs(g)) * 1.1
        assert np.all(np.abs(kept - value) <= most * HALF_STEP[2] * 1.01 + error)
        answer += scales[choice] * (down @ kept)
        bound += scales[choice] * (np.abs(down) @ np.abs(kept))
    assert np.all(np.abs(out - answer) <= FLOAT * bound)


@pytest.mark.parametrize("planes", [1, 2])
def test_norm(kernels: ctypes.CDLL, planes: int) -> None:
    cols = 1536
    x, weight = to_bf16(sample(cols, 5)), to_bf16(1 + 0.1 * sample(cols, 6) / 300)
    out, normed, host = room(vector_bytes(planes, cols), np.int8), room(cols, np.uint16), room(cols, np.uint16)
    code = kernels.leviathan_norm(
        *(
            planes,
            address(x),
            address(weight),
            ctypes.c_float(1e-6),
            cols,
            address(out),
            address(normed),
            address(host),
            None,
        )
    )
    assert code == 0
    wide = from_bf16(x)
    exact = from_bf16(weight) * wide / np.sqrt((wide**2).mean() + 1e-6)
    assert np.all(np.abs(from_bf16(normed) - exact) <= 2**-7 * np.abs(exact))
    assert np.array_equal(normed, host)
    most = np.repeat(np.abs(from_bf16(normed)).reshape(-1, 32).max(1), 32)
    assert np.all(np.abs(read_back(out, planes, cols) - from_bf16(normed)) <= most * HALF_STEP[planes] * 1.001)


def turned(x: Array, cosine: Array, sine: Array) -> Array:
    """RoPE over the last axis: neighbours turn, and come out as two halves."""
    first, second = x[..., 0::2], x[..., 1::2]
    half = first.shape[-1]
    return np.concatenate(
        [first * cosine[:half] - second * sine[:half], second * cosine[half:] + first * sine[half:]], -1
    )


def test_latents(kernels: ctypes.CDLL) -> None:
    """The query's half, and an entry of the cache in the page that the table names."""
    query, rank, rope, page = 768, 512, 64, 64
    random = np.random.default_rng(2)
    x = put(random.standard_normal(query + rank + rope), np.float32)
    weights = [to_bf16(1 + 0.1 * random.standard_normal(n)) for n in (query, rank)]
    angles = np.tile(random.uniform(0, 6, rope // 2), 2)
    cosine, sine = to_bf16(np.cos(angles)), to_bf16(np.sin(angles))
    cache, out = room(5 * page * (rank + rope), np.uint16, 9), room(vector_bytes(2, query), np.int8)
    position, table = put(np.array([page + 3]), np.int64), put(np.array([4, 2]), np.int32)
    code = kernels.leviathan_latents(
        *(2, address(x), query, rank, rope, address(weights[0]), address(weights[1]), ctypes.c_float(1e-6)),
        *(address(cosine), address(sine), address(position), address(table), page, address(cache), address(out), None),
    )
    assert code == 0
    given = x.astype(np.float64)
    normed = [part / np.sqrt((part**2).mean() + 1e-6) for part in (given[:query], given[query : query + rank])]
    exact = from_bf16(weights[0]) * normed[0]
    most = np.repeat(np.abs(exact).reshape(-1, 32).max(1), 32)
    assert np.all(np.abs(read_back(out, 2, query) - exact) <= most * HALF_STEP[2] * 1.2)
    entries = cache.reshape(-1, rank + rope)
    entry = from_bf16(entries[2 * page + 3])
    wanted = [from_bf16(weights[1]) * normed[1], turned(given[query + rank :], from_bf16(cosine), from_bf16(sine))]
    assert np.all(np.abs(entry - np.concatenate(wanted)) <= 2**-8 * np.abs(np.concatenate(wanted)) + 1e-5)
    assert np.all(np.delete(entries, 2 * page + 3, 0) == 9)


@pytest.mark.parametrize(("rank", "nope", "value"), [(512, 128, 128), (64, 32, 32)])
def test_both_halves_of_kv_b(kernels: ctypes.CDLL, rank: int, nope: int, value: int) -> None:
    heads, rope = 3, 64
    random = np.random.default_rng(4)
    query = put(random.standard_normal((heads, nope + rope)), np.float32)
    kv_b = to_bf16(random.standard_normal((heads, nope + value, rank)) * 0.1)
    angles = np.tile(random.uniform(0, 6, rope // 2), 2)
    cosine, sine = to_bf16(np.cos(angles)), to_bf16(np.sin(angles))
    out = room(heads * (rank + rope), np.uint16)
    code = kernels.leviathan_absorb(
        *(
            address(query),
            address(kv_b),
            heads,
            nope,
            rope,
            value,
            rank,
            address(cosine),
            address(sine),
            address(out),
            None,
        )
    )
    assert code == 0
    weight, given = from_bf16(kv_b).reshape(heads, nope + value, rank), query.astype(np.float64).reshape(heads, -1)
    plain = np.einsum("hn,hnr->hr", given[:, :nope], weight[:, :nope])
    wanted = np.concatenate([plain, turned(given[:, nope:], from_bf16(cosine), from_bf16(sine))], 1).reshape(-1)
    assert np.all(np.abs(from_bf16(out) - wanted) <= 2**-8 * np.abs(wanted) + 1e-5)
    attended = to_bf16(random.standard_normal((heads, rank)))
    vector = room(vector_bytes(2, heads * value), np.int8)
    code = kernels.leviathan_values(
        2, address(attended), address(kv_b), heads, nope, value, rank, address(vector), None
    )
    assert code == 0
    exact = np.einsum("hr,hvr->hv", from_bf16(attended).reshape(heads, rank), weight[:, nope:]).reshape(-1)
    most = np.repeat(np.abs(exact).reshape(-1, 32).max(1), 32)
    assert np.all(np.abs(read_back(vector, 2, heads * value) - exact) <= most * HALF_STEP[2] * 1.2)


@pytest.mark.parametrize(("experts", "groups", "groups_used", "used"), [(256, 8, 4, 8), (16, 4, 2, 4), (8, 1, 1, 8)])
def test_router(kernels: ctypes.CDLL, experts: int, groups: int, groups_used: int, used: int) -> None:
    cols, factor = 1024, 2.5
    for seed in range(6):
        random = np.random.default_rng(seed)
        x, weight = to_bf16(random.standard_normal(cols)), put(random.standard_normal((experts, cols)) / 32, np.float32)
        bias = put(random.standard_normal(experts) * (0.1 if seed < 4 else 0), np.float32)
        if seed == 5:
            weight[: cols * experts] = 0  # all are equal: the first ones win
        table = put(np.where(random.random(experts) < 0.5, np.arange(experts), -1), np.int32)
        products, uses = room(experts, np.float32), room(experts, np.int64, 3)
        slots, weights = room(used, np.int32), room(used, np.float32)
        ids, host = room(used, np.int64), room(used, np.float32)
        code = kernels.leviathan_router(
            *(
                address(x),
                address(weight),
                cols,
                address(products),
                address(bias),
                experts,
                groups,
                groups_used,
                used,
                1,
            ),
            *(ctypes.c_float(factor), address(table), address(slots), address(weights), address(ids), address(host)),
            *(address(uses), None),
        )
        assert code == 0
        score = 1 / (1 + np.exp(-(weight.reshape(experts, cols).astype(np.float64) @ from_bf16(x))))
        ranks = score + bias
        best = np.sort(ranks.reshape(groups, -1), 1)[:, -2:].sum(1)
        kept = np.argsort(-best, kind="stable")[:groups_used]
        ranks = np.where(np.isin(np.arange(experts) // (experts // groups), kept), ranks, 0.0)
        chosen = np.argsort(-ranks, kind="stable")[:used]
        counted = np.full(experts, 3)
        counted[chosen] += 1
        assert np.array_equal(uses, counted), seed
        assert np.array_equal(slots, table[chosen])
        assert np.array_equal(ids, np.where(table[chosen] < 0, chosen, -1))
        wanted = score[chosen] / score[chosen].sum() * factor
        assert np.allclose(weights, wanted, rtol=1e-5)
        assert np.array_equal(weights, host)


def test_the_sum_at_a_layers_end(kernels: ctypes.CDLL) -> None:
    random = np.random.default_rng(8)
    base, host = (to_bf16(random.standard_normal(1030)) for _ in range(2))
    routed, out = put(random.standard_normal(1030), np.float32), room(1030, np.uint16)
    for there in (host, None):
        left = address(there) if there is not None else None
        assert kernels.leviathan_layer_sum(address(base), address(routed), left, 1030, address(out), None) == 0
        exact = from_bf16(base) + routed + (from_bf16(there) if there is not None else 0)
        assert np.all(np.abs(from_bf16(out) - exact) <= 2**-8 * np.abs(exact) + 1e-6)
