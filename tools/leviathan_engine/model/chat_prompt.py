"""The model's tokenizer and chat template, read from its Hugging Face folder, without transformers.

The template is rendered as transformers 4.43 does it (`apply_chat_template`): Jinja's immutable sandbox, blocks
trimmed, `raise_exception`, and the special tokens by name; its text is encoded without adding special tokens again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from leviathan_engine.errors import EngineError
from leviathan_engine.model.token_bytes import longest_token

#: The code of a prompt that does not fit into the model's context; OpenAI's word, which clients look for.
TOO_LONG = "context_length_exceeded"


class PromptError(Exception):
    """A request that makes no prompt: `message` says why, `param` the field of the request, `code` what kind it is."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


@dataclass(frozen=True)
class Prompts:
    """Makes token ids from requests and text from token ids. `temperature` and `top_p` are the model's own defaults.

    `longest_token` is how many bytes of text a token stands for at most, None where that is not sure.
    """

    tokenizer: Any
    template: Template | None
    special: dict[str, str]
    eos: tuple[int, ...]
    vocabulary: int
    temperature: float
    top_p: float
    longest_token: int | None = None

    def chat_text(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt of a chat as text. Errors: PromptError when the template refuses the messages."""
        if self.template is None:
            raise PromptError("this model has no chat template: use /v1/completions", code="no_chat_template")
        try:
            return self.template.render(messages=list(messages), add_generation_prompt=True, **self.special)
        except (TemplateError, TypeError, ValueError) as err:
            why = f"the model's chat template refuses these messages: {err}"
            raise PromptError(why, "messages", "chat_template_refuses") from err

    def chat_ids(self, messages: Sequence[dict[str, str]], most: int) -> list[int]:
        """The prompt of a chat, which may have `most` tokens.

        Errors: PromptError when the template refuses the messages, or there are more.
        """
        return self._encode(self.chat_text(messages), most, "messages", special=False)

    def text_ids(self, prompt: str | Sequence[int], most: int) -> list[int]:
        """The prompt of a completion, which may have `most` tokens.

        Errors: PromptError for ids that the model does not have, or more of them.
        """
        if isinstance(prompt, str):
            return self._encode(prompt, most, "prompt", special=True)
        if len(prompt) > most:
            raise PromptError(f"the prompt has {len(prompt)} tokens, at most {most} are taken", "prompt", TOO_LONG)
        if any(i >= self.vocabulary for i in prompt):
            raise PromptError(f"prompt has a token id that is not below {self.vocabulary}", "prompt")
        return list(prompt)

    def plain_ids(self, text: str, most: int) -> list[int]:
        """The tokens of `text` alone, without the model's first token. Errors: PromptError for more than `most`."""
        return self._encode(text, most, "content", special=False)

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def whole_text(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def _encode(self, text: str, most: int, where: str, *, special: bool) -> list[int]:
        size = len(text.encode())
        if self.longest_token is not None and size > most * self.longest_token:
            raise PromptError(
                f"the prompt's {size} bytes are more than the {most} tokens that are taken can be", where, TOO_LONG
            )
        # `encode` would hold the interpreter's lock meanwhile, and /health would wait for it; a batch does not.
        encoding = self.tokenizer.encode_batch([text], add_special_tokens=special)[0]
        if len(encoding) > most:
            raise PromptError(f"the prompt has {len(encoding)} tokens, at most {most} are taken", where, TOO_LONG)
        ids: list[int] = encoding.ids
        return ids


def load(folder: Path) -> Prompts:
    """Reads the folder's files. Errors: EngineError that names the file."""
    tokenizers = import_module("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as err:  # tokenizers raises Exception itself
        raise EngineError(f"{folder / 'tokenizer.json'}: {err}", "give a folder with a fast tokenizer") from err
    settings = _read(folder / "tokenizer_config.json")
    generation = _read(folder / "generation_config.json")
    config = _read(folder / "config.json")
    eos = generation.get("eos_token_id", config.get("eos_token_id"))
    rows, defaults = config.get("vocab_size"), folder / "generation_config.json"
    return Prompts(
        tokenizer=tokenizer,
        template=_template(settings.get("chat_template"), folder),
        special={k: _token(v) for k, v in settings.items() if k.endswith("_token") and isinstance(v, str | dict)},
        eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
        vocabulary=rows if isinstance(rows, int) and rows > 0 else tokenizer.get_vocab_size(),
        temperature=_number(generation, "temperature", defaults),
        top_p=_number(generation, "top_p", defaults),
        longest_token=longest_token(_read(folder / "tokenizer.json"), tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    )


def _template(source: Any, folder: Path) -> Template | None:
    if isinstance(source, list):
        source = next((one.get("template") for one in source if one.get("name") == "default"), None)
    if not isinstance(source, str):
        return None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    environment.filters["tojson"] = _tojson
    try:
        return environment.from_string(source)
    except TemplateError as err:
        remedy = "correct the template, or give another folder as --config_path"
        raise EngineError(f"{folder / 'tokenizer_config.json'}: chat_template: {err}", remedy) from err


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _number(settings: dict[str, Any], name: str, path: Path) -> float:
    """1 where it is missing or null."""
    value = settings.get(name)
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EngineError(f"{path}: {name} is {str(value)[:40]!r}, not a number", "correct it, or take it out")
    return float(value)


def _token(value: str | dict[str, Any]) -> str:
    return value if isinstance(value, str) else str(value.get("content", ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise EngineError(f"{path}: cannot be read: {err}", "check the model's folder") from err
    return document if isinstance(document, dict) else {}
