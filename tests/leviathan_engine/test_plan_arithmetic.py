"""The planner's figures for DeepSeek-V3 Q4_K_M against arithmetic by hand, which stands in the comments."""

from dataclasses import replace

import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Model
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY, q4_k_m
from leviathan_engine.plan import Gpu, Machine, Request, make_plan, ram, vram
from leviathan_engine.plan.place import Costs

MODEL = q4_k_m()


def retyped(name: str, kind: GgmlType, model: Model = MODEL) -> Model:
    return replace(model, tensors={**model.tensors, name: replace(model.tensors[name], type=kind)})


def without(name: str) -> Model:
    return replace(MODEL, tensors={k: v for k, v in MODEL.tensors.items() if k != name})


def reshaped(name: str, *dims: int) -> Model:
    return replace(MODEL, tensors={**MODEL.tensors, name: replace(MODEL.tensors[name], shape=dims)})


def test_a_moe_layer_is_165_mb() -> None:
    # Attention: 7168*1536 + 1536*24576 + 7168*576 + 16384*7168 = 170,328,064 weights in Q4_K, 144 B for 256.
    # Shared expert: 2*7168*2048 weights in Q4_K and half as many in Q6_K (210 B for 256), 28,557,312.
    layer = vram.layer_vram(MODEL, DEEPSEEK_V3, 30)
    assert layer.marlin == 95_809_536 + 28_557_312
    # kv_b: 128*(128+128) rows of 512 in 2 bytes = 33,554,432; norms 2*(7168 + 1536 + 512 + 7168) = 32,768.
    assert layer.bf16 == 33_554_432 + 32_768
    # Router 256*7168*4 = 7,340,032 and its bias 1,024.
    assert layer.router == 7_341_056
    assert layer.weights == 165_295_104


def test_a_dense_layer_is_386_mb() -> None:
    # 2*7168*18432 weights in Q4_K, 148,635,648, and half as many in Q6_K, 108,380,160, in addition to attention.
    layer = vram.layer_vram(MODEL, DEEPSEEK_V3, 0)
    assert layer.marlin == 95_809_536 + 148_635_648 + 108_380_160
    assert layer.weights == layer.marlin + 33_554_432 + 32_768 == 386_412_544
    assert layer.transient == 4 * 128 * 256 * 512  # blocks are copied as they are: kv_b in 4 bytes is what is left


def test_all_layers_and_lm_head() -> None:
    total = sum(vram.layer_vram(MODEL, DEEPSEEK_V3, n).weights for n in range(61))
    # 31 MoE layers have the shared down projection in Q4_K: 7168*2048 weights, 66 B less for 256.
    assert total == 58 * 165_295_104 - 31 * 7168 * 8 * 66 + 3 * 386_412_544 == 10_629_027_840
    # 129,280 * 7,168 = 926,679,040 weights in Q6_K, copied as they are.
    assert vram.head_vram(MODEL) == (760_166_400, 0)


def test_upstreams_steps_are_packed_for_marlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vram, "DECODE_FROM_BLOCKS", False)
    # Attention: 4 bits a weight, 85,164,032; a 16-bit scale for 64, 5,322,752; workspace 1 B an output, 33,856.
    # Shared expert: 44,040,192 weights: 22,020,096 + 1,376,256 + 11,264.
    assert vram.layer_vram(MODEL, DEEPSEEK_V3, 30).marlin == 90_520_640 + 23_407_616
    # 3*7168*18432 = 396,361,728 weights: 198,180,864 + 12,386,304 + 44,032 = 210,611,200, in addition to attention.
    layer = vram.layer_vram(MODEL, DEEPSEEK_V3, 0)
    assert layer.weights == 90_520_640 + 210_611_200 + 33_554_432 + 32_768 == 334_719_040
    # While the widest weight is packed: 20 B for each of 7168*18432, less what stays of it.
    down = 7168 * 18432
    assert layer.transient == 20 * down - (down // 2 + down // 32 + 7168)
    total = sum(vram.layer_vram(MODEL, DEEPSEEK_V3, n).weights for n in range(61))
    assert total == 58 * 154_856_512 + 3 * 334_719_040 == 9_985_834_816
    # 926,679,040 weights in 2 bytes, and for a moment in 4.
    assert vram.head_vram(MODEL) == (1_853_358_080, 3_706_716_160)
    assert vram.wide_bytes(MODEL, DEEPSEEK_V3) == 0


def test_the_kv_cache_is_1152_bytes_a_token_and_layer() -> None:
    # (512 + 64) * 2 = 1152; 61 layers: 70,272 B = 68.6 KiB.
    assert vram.kv_bytes(DEEPSEEK_V3, 8192) == 8192 * 1152
    assert round(61 * vram.kv_bytes(DEEPSEEK_V3, 64) / 64 / 1024, 1) == 68.6
    assert vram.kv_bytes(DEEPSEEK_V3, 65) == 2 * 64 * 1152  # whole pages


def test_a_chunk_of_a_prompt() -> None:
    # Hidden vectors 3*7168 = 21,504; query and output 2*128*192 = 49,152; rotary 128*64 = 8,192: 78,848 numbers of
    # 2 bytes, and 2*128*128 of 4: 288,768 B a token.
    # A key: 576 + 512 of the cache, kv_b 32,768, key and value 49,152: 83,008 numbers of 2 bytes = 166,016 B.
    block = 4096 * 166_016
    assert vram.chunk_bytes(DEEPSEEK_V3, 1, 8192) == 288_768 + block
    assert vram.chunk_bytes(DEEPSEEK_V3, 4096, 65536) == 4096 * 288_768 + block == 1_862_795_264
    assert vram.chunk_bytes(DEEPSEEK_V3, 1, 64) == 288_768 + 64 * 166_016


def test_log_probabilities_of_a_prompt_need_less_than_its_layers() -> None:
    # 24 bytes for each of 128 * 129,280 logits, and 3*7168 numbers of 2 bytes a token.
    assert vram.logits_bytes(DEEPSEEK_V3, 4096) == 24 * 128 * 129_280 + 4096 * 43_008 == 573_308_928
    for chunk in (1, 64, 128, 512, 4096, 16384):
        assert vram.logits_bytes(DEEPSEEK_V3, chunk) < vram.chunk_bytes(DEEPSEEK_V3, chunk, max(chunk, 4096))
    # Where it is more, it counts: a vocabulary of ten times the size.
    wide = replace(DEEPSEEK_V3, vocab=10 * DEEPSEEK_V3.vocab)
    assert vram.logits_bytes(wide, 512) > vram.chunk_bytes(wide, 512, 8192)


def test_the_cpu() -> None:
    memory = ram.cpu_memory(MODEL, DEEPSEEK_V3)
    assert round(memory.experts / 2**30, 1) == 366.9
    # 8 of 256 experts: 393,983,557,632 / 32 = 12.3 GB a token; eight channels of DDR5-6400: 8*8*6400e6 = 409.6 GB/s.
    assert memory.token_experts == 12_311_986_176
    bound = ram.decode_bound(memory, memory.experts, 409.6e9, None)
    assert bound is not None
    assert round(bound, 1) == 33.3
    # Embedding 1,853,358,080; expert buffers 1024*8*4*(2*7168 + 4*2048) = 738,197,504; runtime 4 GiB.
    assert memory.process == 1_853_358_080 + 738_197_504 + 2**32
    assert memory.process_peak == 2**32 + 16 * 926_679_040


def test_decoding_with_a_tenth_of_the_experts_on_disk() -> None:
    memory = ram.CpuMemory(experts=1000, process=0, process_peak=0, token_experts=100)
    # 100 B at 1000 B/s and 10 B at 100 B/s: 0.2 s.
    assert ram.decode_bound(memory, 900, 1000.0, 100.0) == pytest.approx(5.0)
    assert ram.decode_bound(memory, 2000, 1000.0, None) == pytest.approx(10.0)
    assert ram.decode_bound(memory, 900, 1000.0, None) is None
    assert ram.decode_bound(memory, 900, None, 100.0) is None


def test_the_start() -> None:
    # 404.42 GB of tensors and 5 MiB of header at 7 GB/s: 57.8 s; a first answer: 8 s. Packing is quicker than the disk.
    packed = 61 * 170_328_064 + 3 * 396_361_728 + 58 * 44_040_192
    seconds = ram.start_seconds(MODEL, packed, 7e9)
    assert seconds is not None
    assert round(seconds) == round(404_430_000_000 / 7e9 + 8) == 66
    # A disk at 100 GB/s: the imports take 15 s, packing 14,112 million weights at 3e9 takes 4.7 s.
    assert ram.start_seconds(MODEL, packed, 1e11) == pytest.approx(15 + packed / 3e9 + 8)
    assert ram.start_seconds(MODEL, packed, None) is None


@pytest.mark.parametrize(
    ("k", "n", "fits"),
    [(7168, 576, True), (128, 64, True), (64, 128, True), (64, 64, False), (100, 128, False), (7168, 100, False)],
)
def test_the_shapes_that_marlin_takes(k: int, n: int, fits: bool) -> None:
    assert vram.marlin_fits(k, n) is fits


def test_other_types_are_packed_for_marlin() -> None:
    whole = vram.layer_vram(MODEL, DEEPSEEK_V3, 30)
    half = vram.layer_vram(retyped("blk.30.attn_output.weight", GgmlType.F16), DEEPSEEK_V3, 30)
    weights = 16384 * 7168  # in Q4_K 144 B for 256; packed half a byte each, a scale for 64, and 1 B for each output
    assert half.marlin - whole.marlin == weights // 2 + weights // 32 + 7168 - weights * 144 // 256
    router = vram.layer_vram(retyped("blk.30.ffn_gate_inp.weight", GgmlType.BF16), DEEPSEEK_V3, 30)
    assert whole.router - router.router == 256 * 7168 * 2


def test_a_layer_that_marlin_cannot_take_is_bf16() -> None:
    # TINY with a latent space of 32: kv_a has 512 inputs and 96 outputs, not by 64.
    shape = replace(TINY, kv_lora=32, layers=1)
    layer = vram.layer_vram(q4_k_m(shape), shape, 0)
    others = 512 * 256 + 256 * 4 * 192 + 512 * 512 + 3 * 512 * 1024
    in_six_bits = 512 * 1024  # down
    assert layer.marlin == ((others - in_six_bits) * 144 + in_six_bits * 210) // 256
    assert layer.bf16 == 2 * 512 * 96 + 2 * (512 + 256 + 32 + 512) + 2 * 4 * 256 * 32


BAD = [
    (
        retyped("blk.0.attn_q_a.weight", GgmlType.Q5_0),
        r"attn_q_a\.weight has type Q5_0, which the engine cannot load on a GPU",
    ),
    (retyped("output.weight", GgmlType.IQ2_S), r"output\.weight has type IQ2_S"),
    (
        retyped("blk.9.ffn_up_exps.weight", GgmlType.IQ1_S),
        r"ffn_up_exps\.weight has type IQ1_S, which the CPU experts",
    ),
    (without("blk.7.attn_output.weight"), r"the tensor blk\.7\.attn_output\.weight is missing"),
    (without("blk.7.attn_kv_b.weight"), "layer 7 has neither attn_kv_b nor attn_k_b and attn_v_b"),
    (without("blk.7.ffn_up_exps.weight"), r"the tensor blk\.7\.ffn_up_exps\.weight is missing"),
    (reshaped("blk.7.attn_q_a.weight", 7168, 1536, 2), r"attn_q_a\.weight: expected 2 dimensions, got 3"),
    (reshaped("blk.7.ffn_norm.weight", 7168, 1), r"ffn_norm\.weight: expected 1 dimension, got 2"),
    (reshaped("output.weight", 7168), r"output\.weight: expected 2 dimensions, got 1"),
    (without("output.weight"), r"the tensor output\.weight is missing"),
    (without("blk.9.exp_probs_b.bias"), r"exp_probs_b\.bias is missing"),
]


@pytest.mark.parametrize(("model", "text"), BAD)
def test_what_the_engine_cannot_load_is_refused(model: Model, text: str) -> None:
    with pytest.raises(GgufError, match=text):
        make_plan(model, Machine((Gpu(0, 96 << 30),), ram=512 << 30), Request())


def test_both_generations_of_kv_b_take_the_same_memory() -> None:
    new = q4_k_m(split_kv_b=True)
    assert vram.layer_vram(new, DEEPSEEK_V3, 5) == vram.layer_vram(MODEL, DEEPSEEK_V3, 5)
    Costs(new, DEEPSEEK_V3, 8192)


def test_experts_whose_rows_are_no_multiple_of_256() -> None:
    shape = replace(TINY, moe_ffn=384)
    with pytest.raises(GgufError, match="an expert width that are multiples of 256, got 512 and 384"):
        ram.cpu_memory(q4_k_m(shape), shape)
