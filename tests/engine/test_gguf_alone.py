"""KTransformers loads and answers from GGUF files and nothing else, of both generations, with the same numbers.

A small random DeepSeek-V3 is written twice: with attn_kv_b, and with attn_k_b and attn_v_b made from it as llama.cpp's
converter does. Configuration, tokenizer and the engine's folder come from the header; the real loader and the compiled
CPU experts then run a chat prompt and decode greedily, in a process of their own (this file as a script).
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if __name__ != "__main__" and os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

from leviathan_engine.gguf import GgmlType, Model, ValueType, read_model
from leviathan_engine.gguf.quants import to_bf16
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.hf_config import build, register
from leviathan_engine.model.kv_b import engine_folder
from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.model.shape import read_shape

HERE = Path(__file__).resolve().parent
SPECIAL = ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"]
SPECIAL += ["<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"]
STEPS = 8


def block_bytes(name: str, kind: GgmlType, elements: int, rng: np.random.Generator) -> bytes:
    """Random weights of this type with a spread that keeps a small network sane."""
    if kind is GgmlType.F32:
        one = 1.0 if "norm" in name else 0.0
        return (rng.standard_normal(elements) * 0.05 + one).astype(np.float32).tobytes()
    if kind is GgmlType.BF16:
        return to_bf16((rng.standard_normal(elements) * 0.05).astype(np.float32)).tobytes()
    blocks = rng.integers(0, 256, (elements // kind.block, kind.size), dtype=np.uint8)
    scales = {GgmlType.Q4_K: ((0, 0.0008), (2, 0.006)), GgmlType.Q6_K: ((208, 0.0001),)}[kind]
    for at, value in scales:
        blocks[:, at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    if kind is GgmlType.Q6_K:
        blocks[:, 192:208] = rng.integers(0, 30, (len(blocks), 16), dtype=np.uint8)
    return blocks.tobytes()


def vocabulary() -> dict[str, Typed]:
    """Specials, the 256 byte tokens, a merge, and padding up to the embedding's rows."""
    tokenizers = import_module("tokenizers")
    tokens = [*SPECIAL, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), "he"]
    types = [3] * len(SPECIAL) + [1] * 257
    while len(tokens) < TINY.vocab:
        tokens.append(f"[PAD{len(tokens)}]")
        types.append(5)
    return {
        "tokenizer.ggml.model": (ValueType.STRING, "gpt2"),
        "tokenizer.ggml.pre": (ValueType.STRING, "deepseek-v3"),
        "tokenizer.ggml.tokens": (ValueType.ARRAY, ValueType.STRING, tokens),
        "tokenizer.ggml.token_type": (ValueType.ARRAY, ValueType.INT32, types),
        "tokenizer.ggml.merges": (ValueType.ARRAY, ValueType.STRING, ["h e"]),
        "tokenizer.ggml.bos_token_id": (ValueType.UINT32, 0),
        "tokenizer.ggml.eos_token_id": (ValueType.UINT32, 1),
    }


def write_model(path: Path, *, split_kv_b: bool, parts: int = 1, steady: bool = False) -> None:
    """The same random weights in either generation; kv_b is bfloat16 in both, so nothing is lost between them.

    In several `parts` it is written as llama.cpp's gguf-split does it: the metadata in the first alone. With `steady`
    routers every token gets the same experts: else rounding turns a close choice over, and an answer with it.
    """
    kinds = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
    table: Model = q4_k_m(TINY, split_kv_b=split_kv_b)
    keys: dict[str, Typed] = {k: (kinds[type(v)], v) for k, v in table.metadata.items()}
    rows, data = [], []
    for tensor in table.tensors.values():
        part = tensor.name.removesuffix(".weight").rpartition(".")[2]
        kind = GgmlType.BF16 if part in ("attn_kv_b", "attn_k_b", "attn_v_b") else tensor.type
        rows.append((tensor.name, tensor.shape, kind))
        data.append(
            _kv_b_part(tensor.name, part) if kind is GgmlType.BF16 else _weights(tensor.name, kind, tensor.elements)
        )
        if steady and part == "bias":
            data[-1] = np.arange(tensor.elements, dtype=np.float32).tobytes()  # scores are below 1
    keys |= vocabulary()
    if parts == 1:
        write_gguf(path, keys, rows, data)
        return
    for number in range(parts):
        mine = slice(len(rows) * number // parts, len(rows) * (number + 1) // parts)
        split: dict[str, Typed] = {
            "split.no": (ValueType.UINT16, number),
            "split.count": (ValueType.UINT16, parts),
            "split.tensors.count": (ValueType.INT32, len(rows)),
        }
        name = f"{path.stem}-{number + 1:05d}-of-{parts:05d}.gguf"
        write_gguf(path.with_name(name), split | (keys if number == 0 else {}), rows[mine], data[mine])


def _weights(name: str, kind: GgmlType, elements: int) -> bytes:
    return block_bytes(name, kind, elements, np.random.default_rng(list(name.encode())))


def _kv_b_part(name: str, part: str) -> bytes:
    whole = name.replace(part, "attn_kv_b")
    bits = np.frombuffer(_weights(whole, GgmlType.BF16, TINY.kv_b_rows * TINY.kv_lora), np.uint16)
    heads = bits.reshape(TINY.heads, TINY.nope + TINY.v_dim, TINY.kv_lora)
    pieces = {
        "attn_kv_b": heads,
        "attn_k_b": heads[:, : TINY.nope].transpose(0, 2, 1),
        "attn_v_b": heads[:, TINY.nope :],
    }
    return pieces[part].tobytes()


def serve(gguf: Path, work: Path) -> dict[str, Any]:
    """Loads the model with the real engine on the CPU and answers one prompt greedily."""
    import_module("cpu_shims").apply()
    torch = import_module("torch")
    transformers = import_module("transformers")
    torch.set_default_dtype(torch.bfloat16)
    torch.set_grad_enabled(False)
    model = read_model(gguf)
    hf = work / "hf"
    build(model).write(hf)
    files = engine_folder(model, read_shape(model), work / "engine")
    register()
    settings = transformers.AutoConfig.from_pretrained(hf, trust_remote_code=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(hf)
    with torch.device("meta"):
        network = import_module("ktransformers.models.modeling_deepseek_v3").DeepseekV3ForCausalLM(settings)
    optimize = import_module("ktransformers.optimize.optimize").optimize_and_load_gguf
    optimize(network, str(HERE / "cpu-rules.yaml"), str(files), settings, default_device="cpu")
    cache = import_module("ktransformers.models.custom_cache").StaticCache(
        config=settings,
        max_batch_size=1,
        max_cache_len=256,
        device=network.gguf_loader.tensor_device_map,
        dtype=torch.bfloat16,
    )
    talk = [{"role": "user", "content": "hello, 12345"}]
    ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True)
    answer: list[int] = []
    position, current = 0, list(ids)
    for _ in range(STEPS):
        places = torch.arange(position, position + len(current))
        embedded = network.model.embed_tokens(torch.tensor([current]))
        out = network(
            inputs_embeds=embedded,
            cache_position=places,
            position_ids=places.unsqueeze(0),
            past_key_values=cache,
            return_dict=False,
            use_cache=True,
        )[0]
        position += len(current)
        logits = out[0, -1].float()
        current = [int(logits.argmax())]
        answer += current
    return {"prompt": ids, "answer": answer, "logits": [float(x) for x in logits], "text": tokenizer.decode(answer)}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    engine_process = import_module("engine_process")
    out: dict[str, dict[str, Any]] = {}
    for name in ("kv_b", "split"):
        work = tmp_path_factory.mktemp(name)
        (work / "models").mkdir()
        write_model(work / "models" / "tiny.gguf", split_kv_b=name == "split")
        engine_process.write_config(work)
        config = work / ".ktransformers" / "config.yaml"
        config.write_text(config.read_text().replace("cpu_infer: 10", "cpu_infer: 3"))
        argv = [sys.executable, str(Path(__file__).resolve()), str(work / "models"), str(work)]
        env = engine_process.environment(work) | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
        done = subprocess.run(argv, env=env, cwd=work, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        out[name] = json.loads(done.stdout.splitlines()[-1])
    return out


def test_the_prompt_has_the_headers_tokens(answers: dict[str, dict[str, Any]]) -> None:
    prompt = answers["kv_b"]["prompt"]
    # First token, user, "he" as one token and 10 more characters, assistant.
    assert prompt[:2] == [0, 2]
    assert prompt[2] == len(SPECIAL) + 256
    assert (len(prompt), prompt[-1]) == (14, 3)


def test_both_generations_answer_alike(answers: dict[str, dict[str, Any]]) -> None:
    old, new = answers["kv_b"], answers["split"]
    assert old["prompt"] == new["prompt"]
    assert old["answer"] == new["answer"]
    assert old["logits"] == new["logits"]
    assert len(old["answer"]) == STEPS
    assert np.isfinite(old["logits"]).all()
    assert float(np.std(old["logits"])) > 0.01


if __name__ == "__main__":
    result = serve(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
