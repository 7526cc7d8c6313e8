"""Reads the model's tokenizer and chat template from its Hugging Face folder, without transformers.

The text of a rendered chat is encoded without adding special tokens again. If the tokenizer adds a first token and the
template leaves it out, the token is added, as llama.cpp does with a GGUF's template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from leviathan_engine.errors import EngineError
from leviathan_engine.model.chat_template import ChatTemplate, TemplateRefusal, compile_template
from leviathan_engine.model.hf_folder import end_tokens, read_json
from leviathan_engine.model.render_chat import UnknownTemplateValue, render_chat
from leviathan_engine.model.rendered_chat import ChatPrompt, RenderedChat
from leviathan_engine.model.token_bytes import byte_alphabet, longest_token
from leviathan_engine.model.tool_format import ToolFormat, tool_format

#: The error code of a prompt that does not fit into the model's context; OpenAI's, which clients check for.
TOO_LONG = "context_length_exceeded"
# DeepSeek's tokens around a prompt's two halves.
BETWEEN = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")


class PromptError(Exception):
    """A request from which no prompt can be made: the `message`, the field `param` of the request, the error `code`."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


@dataclass(frozen=True)
class Prompts:
    """Makes token ids from requests and text from token ids. `temperature` and `top_p` are the model's own defaults.

    `longest_token` is the maximum number of text bytes of a token, None if there is no such bound. `first` is the token
    with which every prompt begins, None if there is none. `tools` is the template's format of tool calls.
    """

    tokenizer: Any
    template: ChatTemplate | None
    eos: tuple[int, ...]
    vocabulary: int
    temperature: float
    top_p: float
    longest_token: int | None = None
    first: int | None = None
    tools: ToolFormat | None = None

    def close(self) -> None:
        """Ends the process of the template, if there is one."""
        if self.template is not None:
            self.template.close()

    @property
    def brief(self) -> bool:
        """Whether the time for a prompt only depends on its length: the template is a known one."""
        return self.template is None or self.template.known

    def chat(self, talk: ChatPrompt, most: int) -> tuple[list[int], RenderedChat]:
        """Returns the token ids of a chat's prompt, at most `most`, and the rendered text.

        Errors: PromptError if the template refuses the messages, or if there are more tokens.
        """
        rendered = self.rendered(talk)
        ids = self._encode(rendered.text, most, "messages", special=False)
        if self.first is not None and ids[:1] != [self.first]:
            if len(ids) == most:
                raise PromptError(f"the prompt has {most + 1} tokens, at most {most} are allowed", "messages", TOO_LONG)
            ids.insert(0, self.first)
        return ids, rendered

    def rendered(self, talk: ChatPrompt) -> RenderedChat:
        """Renders the prompt of a chat as text. Errors: PromptError if the template refuses the messages."""
        if self.template is None:
            raise PromptError("this model has no chat template: use /v1/completions", code="no_chat_template")
        try:
            rendered = render_chat(self.template, self.tools, talk)
            rendered.text.encode("utf-8")
        except UnknownTemplateValue as err:
            why = f"chat_template_kwargs.{err}"
            raise PromptError(why, "chat_template_kwargs", "unknown_template_value") from err
        except (TemplateRefusal, UnicodeEncodeError) as err:
            why = f"the model's chat template cannot render these messages: {err}"
            raise PromptError(why, "messages", "chat_template_refuses") from err
        return rendered

    def text_ids(self, prompt: str | Sequence[int], most: int) -> list[int]:
        """Returns the token ids of a completion's prompt, at most `most`.

        Errors: PromptError for ids that the model does not have, or if there are more tokens.
        """
        if isinstance(prompt, str):
            return self._encode(prompt, most, "prompt", special=True)
        if len(prompt) > most:
            raise PromptError(f"the prompt has {len(prompt)} tokens, at most {most} are allowed", "prompt", TOO_LONG)
        if any(i >= self.vocabulary for i in prompt):
            raise PromptError(f"prompt: expected token ids below {self.vocabulary}", "prompt")
        return list(prompt)

    def between_ids(self, before: str, after: str, most: int) -> list[int]:
        """The prompt for what stands between two texts (FIM), which may have `most` tokens.

        DeepSeek's order (https://github.com/deepseek-ai/DeepSeek-Coder#2-code-insertion). Errors: PromptError, also for
        a model without the tokens for it.
        """
        if any(self.token_id(mark) is None for mark in BETWEEN):
            raise PromptError("suffix: this model has no tokens for it", "suffix", "no_fim_tokens")
        begin, hole, end = BETWEEN
        return self._encode(begin + before + hole + after + end, most, "prompt", special=True)

    def plain_ids(self, text: str, most: int) -> list[int]:
        """Returns the tokens of `text`, without the model's first token. Errors: PromptError for more than `most`."""
        return self._encode(text, most, "content", special=False)

    def text(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def whole_text(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, including special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def token_id(self, token: str) -> int | None:
        """Returns the id of a token by its text, None if the model does not have it."""
        found = self.tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def special(self, token: int) -> bool:
        """Whether `text` leaves the token out."""
        return not self.text([token]) and bool(self.whole_text([token]))

    def token_bytes(self, token: int) -> bytes:
        """Returns the bytes of a token, even if they are not complete characters."""
        text = self.tokenizer.id_to_token(token) or ""
        table = byte_alphabet()
        if all(character in table for character in text):
            return bytes(table[character] for character in text)
        return str(text).encode()

    def _encode(self, text: str, most: int, where: str, *, special: bool) -> list[int]:
        size = len(text.encode())
        if self.longest_token is not None and size > most * self.longest_token:
            raise PromptError(f"the prompt has {size} bytes, which cannot fit in {most} tokens", where, TOO_LONG)
        # Unlike a batch, `encode` holds the interpreter lock, and /health would have to wait for it.
        encoding = self.tokenizer.encode_batch([text], add_special_tokens=special)[0]
        if len(encoding) > most:
            raise PromptError(f"the prompt has {len(encoding)} tokens, at most {most} are allowed", where, TOO_LONG)
        ids: list[int] = encoding.ids
        return ids


def load(folder: Path) -> Prompts:
    """Reads the folder's files. Errors: EngineError that names the file."""
    tokenizers = import_module("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as err:  # tokenizers raises Exception itself
        raise EngineError(
            f"cannot read {folder / 'tokenizer.json'}: {err}", "use a Hugging Face folder with a fast tokenizer"
        ) from err
    settings = read_json(folder / "tokenizer_config.json")
    generation = read_json(folder / "generation_config.json")
    config = read_json(folder / "config.json")
    own = read_json(folder / "tokenizer.json")
    special = {k: _token(v) for k, v in settings.items() if k.endswith("_token") and isinstance(v, str | dict)}
    template = _template(special, folder)
    rows, defaults = config.get("vocab_size"), folder / "generation_config.json"
    return Prompts(
        tokenizer=tokenizer,
        template=template,
        eos=end_tokens(folder),
        vocabulary=rows if isinstance(rows, int) and rows > 0 else tokenizer.get_vocab_size(),
        temperature=_number(generation, "temperature", defaults),
        top_p=_number(generation, "top_p", defaults),
        longest_token=longest_token(own, tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        first=tokenizer.token_to_id(special.get("bos_token", "")) if settings.get("add_bos_token") is True else None,
        tools=tool_format(template) if template else None,
    )


def template_source(folder: Path) -> str | None:
    """Returns the text of the folder's chat template, None if it has none. Errors: EngineError.

    The file chat_template.jinja takes precedence over the template in tokenizer_config.json.
    """
    own = folder / "chat_template.jinja"
    try:
        return own.read_text(encoding="utf-8")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as err:
        raise EngineError(f"cannot read {own}: {err}", "check the file") from err
    source = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(source, list):
        source = next((one.get("template") for one in source if one.get("name") == "default"), None)
    return source if isinstance(source, str) else None


def _template(special: dict[str, str], folder: Path) -> ChatTemplate | None:
    source = template_source(folder)
    try:
        return None if source is None else compile_template(source, special)
    except TemplateError as err:
        remedy = "correct the template, or use another one with --chat_template"
        raise EngineError(f"{folder / 'tokenizer_config.json'}: chat_template: {err}", remedy) from err


def _number(settings: dict[str, Any], name: str, path: Path) -> float:
    """Returns the number `name` of the settings, 1 if it is missing or null. Errors: EngineError."""
    value = settings.get(name)
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EngineError(f"{path}: {name}: expected a number, got {str(value)[:40]!r}", "correct or remove it")
    return float(value)


def _token(value: str | dict[str, Any]) -> str:
    return value if isinstance(value, str) else str(value.get("content", ""))
