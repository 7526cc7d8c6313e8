"""Writes a tiny DeepSeek-V3 as a GGUF file whose weights say what the client tests expect, tools and thoughts included.

Nothing in it is trained: each weight is written by hand, the engine that computes with it is the real one.

- Every token's embedding has a dimension of its own and one that is the same for all. The head adds up, for each
  possible next token, what the token before it is worth (SAYS), and a small liking of its own (`likings`), which
  decides where a grammar leaves none of SAYS.
- Each head of the first layer's attention looks for one word (`sees`) in all that came before: its query is constant,
  the word's key scores 41, the first token's 20, any other's 0. So its value is 1 where the word is, else 0. What the
  model calls, and whether it has seen a tool's result, depends on the prompt in this way.
- The experts are random, and so small that they change nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from answers import EDIT, PARIS, ROME, USER

from leviathan_engine.gguf import GgmlType, ValueType
from leviathan_engine.gguf.quants import to_bf16
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.model.token_bytes import byte_alphabet
from leviathan_engine.model.tokenizer import CONTROL, NORMAL, UNUSED, USER_DEFINED
from leviathan_engine.model.tool_format import CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, SEP

SHAPE = replace(TINY, layers=2, dense_layers=1, heads=16, context=8192)
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
THINK, THOUGHT = "<think>", "</think>"
OUTPUT_BEGIN, OUTPUT_END = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"
SPECIAL = (BOS, EOS, "<｜User｜>", "<｜Assistant｜>", CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEP)
SPECIAL += (OUTPUT_BEGIN, OUTPUT_END)
WEATHER, SPANISH, PERSON, BOTH = "weather", "transfer_to_spanish", "### User", "Paris and Rome"
FILE, FENCED, DEGREES = "print('hi')", "```json", "18"
SEEN_IN_PROMPTS = (WEATHER, SPANISH, PERSON, BOTH, FILE, FENCED, DEGREES)
FOUR = "Four."
MERGED = "\0\1"  # a tokenizer has a merge at least


@dataclass(frozen=True)
class Say:
    """After one token comes a text, and then another token.

    `worth` ranks what may come after the same token; where `sees` was read before, `more` is added.
    """

    after: str
    text: str
    then: str
    worth: float = 20.0
    sees: str = ""
    more: float = 0.0


SAYS = (
    Say(THINK, "Hm.", THOUGHT),
    Say(THOUGHT, FOUR, EOS),
    Say(THOUGHT, "I look.", CALLS_BEGIN, 12, BOTH, 22),
    Say(THOUGHT, EDIT, EOS, 15, FILE, 15),
    Say(THOUGHT, USER, EOS, 10, FENCED, 17),
    Say(THOUGHT, "", CALLS_BEGIN, 15, WEATHER, 12),
    Say(THOUGHT, "", CALLS_BEGIN, 15, SPANISH, 12),
    Say(THOUGHT, "", CALLS_BEGIN, 15, PERSON, 12),
    Say(CALLS_BEGIN, "", CALL_BEGIN),
    Say(CALL_BEGIN, "weather", SEP),
    Say(CALL_BEGIN, SPANISH, SEP, 15, SPANISH, 12),
    Say(CALL_BEGIN, "User", SEP, 15, PERSON, 12),
    Say(SEP, PARIS, CALL_END),
    Say(SEP, ROME, CALL_END, 15, PARIS, 12),
    Say(SEP, "{}", CALL_END, 15, SPANISH, 12),
    Say(SEP, USER, CALL_END, 15, PERSON, 12),
    Say(CALL_END, "", CALLS_END),
    Say(CALL_END, "", CALL_BEGIN, 15, BOTH, 10),
    Say(CALL_END, "", CALLS_END, 20, ROME, 15),
    Say(CALLS_END, "", EOS),
    Say(OUTPUT_END, FOUR, EOS),
    Say(OUTPUT_END, "18 degrees.", EOS, 15, DEGREES, 12),
    Say(OUTPUT_END, "Hola.", EOS, 15, SPANISH, 12),
)


def pieces(text: str) -> list[str]:
    """The tokens of a text: "Four." is five; others are long ones, which no prompt has, since nothing is merged."""
    if text in ("", "{}", FOUR):
        return list(text)
    return [text] if len(text) < 6 else [text[:-4], text[-4:]]


def vocabulary() -> list[tuple[str, int]]:
    """Text and type of each token, in a text's own letters."""
    said = dict.fromkeys(piece for say in SAYS for piece in pieces(say.text) if len(piece) > 1)
    kinds = {CONTROL: SPECIAL, USER_DEFINED: (THINK, THOUGHT, *SEEN_IN_PROMPTS), NORMAL: (*said, MERGED)}
    return [(text, kind) for kind, texts in kinds.items() for text in texts]


# After them come the 256 bytes, and then unused tokens.
TEXTS = vocabulary()
IDS = {text: number for number, (text, _) in enumerate(TEXTS)}
FIRST_BYTE = len(TEXTS)
HEADS = tuple(dict.fromkeys(say.sees for say in SAYS if say.sees))
assert len(HEADS) <= SHAPE.heads
# Dimensions of the residual stream: tokens (the unused ones give theirs away), one for all, and one for each head.
SPARE = list(range(FIRST_BYTE + 256, SHAPE.vocab))
ALL, FOUND = SPARE[0], SPARE[1 : 1 + len(HEADS)]


def token(text: str) -> int:
    """The id of a token by its text."""
    return FIRST_BYTE + text.encode()[0] if len(text) == 1 else IDS[text]


def likings() -> np.ndarray:
    """What each token is worth apart from that: the start of an answer, then what ends JSON soonest; blanks last."""
    out = np.full(SHAPE.vocab, -8.0)
    out[FIRST_BYTE + 0x21 : FIRST_BYTE + 0x7F] = 0
    out[[FIRST_BYTE + byte for byte in b" \t\r\n"]] = -4
    for rank, letter in enumerate('}]",:1234567890truefalsn'):
        out[token(letter)] = max(out[token(letter)], 5 - 0.15 * rank)
    out[token("F")], out[token(EOS)] = 9, 6
    return out


def head() -> np.ndarray:
    """The output's weights: (tokens, dimensions). The best token leads by 10 and more, which no penalty takes away."""
    liking = likings()
    out = np.zeros((SHAPE.vocab, SHAPE.hidden))
    out[:, ALL] = liking
    for say in SAYS:
        chain = [say.after, *pieces(say.text), say.then]
        for number, (before, after) in enumerate(pairwise(chain)):
            worth = say.worth if number == 0 else 20.0
            if number and number == len(chain) - 2 and say.sees == PERSON:
                worth = 15.0  # the same text may be the answer itself
            out[token(after), token(before)] = max(out[token(after), token(before)], worth - liking[token(after)])
        if say.sees:
            out[token(chain[1]), FOUND[HEADS.index(say.sees)]] = say.more
    out[token(CALL_END), FOUND[HEADS.index(PERSON)]] = 12
    return 0.3 * out


def trigger(word: str) -> int:
    """The token by which a head knows its word: the word, or the end of an answer's text."""
    return IDS[word] if word in SEEN_IN_PROMPTS else token(pieces(word)[-1])


def attention() -> dict[str, np.ndarray]:
    """The first layer's attention: weights as (rows, columns) by the parts of their names."""
    s = SHAPE
    q_a, q_b = np.zeros((s.q_lora, s.hidden)), np.zeros((s.heads, s.nope + s.rope, s.q_lora))
    kv_a, kv_b = np.zeros((s.kv_lora + s.rope, s.hidden)), np.zeros((s.heads, s.nope + s.v_dim, s.kv_lora))
    out = np.zeros((s.hidden, s.heads, s.v_dim))
    first, always = s.heads, s.heads + 1
    q_a[0, ALL] = 1
    kv_a[first, IDS[BOS]] = kv_a[always, ALL] = 1
    for number, word in enumerate(HEADS):
        # After its norm a latent vector has 16 in each of its two dimensions; 0.135 is the factor on scores.
        q_b[number, 0, 0] = 41 / (16 * 16 * 0.135)
        kv_a[number, trigger(word)] = 1
        kv_b[number, 0, number], kv_b[number, 0, first] = 1, 0.5
        kv_b[number, s.nope, number] = 1 / 16
        out[FOUND[number], number, 0] = 1
    named = {"q_a": q_a, "q_b": q_b, "kv_a_mqa": kv_a, "kv_b": kv_b, "output": out}
    return {f"blk.0.attn_{name}.weight": matrix for name, matrix in named.items()}


def small_blocks(kind: GgmlType, elements: int, rng: np.random.Generator) -> bytes:
    """Random weights next to nothing."""
    if kind is GgmlType.F32:
        return np.zeros(elements, np.float32).tobytes()
    blocks = rng.integers(0, 256, (elements // kind.block, kind.size), dtype=np.uint8)
    places = {GgmlType.Q4_K: (0, 2), GgmlType.Q6_K: (208,)}[kind]
    for place in places:
        blocks[:, place : place + 2] = np.frombuffer(np.float16(2e-7).tobytes(), np.uint8)
    return blocks.tobytes()


def weights() -> Iterator[tuple[str, tuple[int, ...], GgmlType, bytes]]:
    """Name, shape, type and bytes of each tensor."""
    embeddings = np.eye(SHAPE.vocab, SHAPE.hidden)
    embeddings[SPARE] = 0
    embeddings[:, ALL] = 1
    written = attention() | {"token_embd.weight": embeddings, "output.weight": head()}
    rng = np.random.default_rng(18)
    for tensor in q4_k_m(SHAPE).tensors.values():
        if tensor.name in written:
            data = to_bf16(written[tensor.name].astype(np.float32)).tobytes()
            yield tensor.name, tensor.shape, GgmlType.BF16, data
        elif "norm" in tensor.name:
            yield tensor.name, tensor.shape, tensor.type, np.ones(tensor.elements, np.float32).tobytes()
        else:
            yield tensor.name, tensor.shape, tensor.type, small_blocks(tensor.type, tensor.elements, rng)


def write(path: Path) -> None:
    """Writes the file."""
    spell = {byte: letter for letter, byte in byte_alphabet().items()}
    # Tokens that are found in a text as they stand are written so, others letter by letter.
    names = [text if kind != NORMAL else "".join(spell[byte] for byte in text.encode()) for text, kind in TEXTS]
    kind_of = [kind for _, kind in TEXTS] + [NORMAL] * 256 + [UNUSED] * len(SPARE)
    names += [spell[byte] for byte in range(256)] + [f"[PAD{number}]" for number in SPARE]
    kinds = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
    keys: dict[str, Typed] = {k: (kinds[type(v)], v) for k, v in q4_k_m(SHAPE).metadata.items()}
    keys |= {
        "tokenizer.ggml.model": (ValueType.STRING, "gpt2"),
        "tokenizer.ggml.pre": (ValueType.STRING, "deepseek-v3"),
        "tokenizer.ggml.tokens": (ValueType.ARRAY, ValueType.STRING, names),
        "tokenizer.ggml.token_type": (ValueType.ARRAY, ValueType.INT32, kind_of),
        "tokenizer.ggml.merges": (ValueType.ARRAY, ValueType.STRING, [f"{spell[0]} {spell[1]}"]),
        "tokenizer.ggml.bos_token_id": (ValueType.UINT32, IDS[BOS]),
        "tokenizer.ggml.eos_token_id": (ValueType.UINT32, IDS[EOS]),
    }
    rows = list(weights())
    write_gguf(path, keys, [row[:3] for row in rows], [row[3] for row in rows])
