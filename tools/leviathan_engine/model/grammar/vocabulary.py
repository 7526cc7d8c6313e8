"""The model's tokens for llguidance, and the limits for compiling a grammar."""

from importlib import import_module
from pathlib import Path
from typing import Any

from leviathan_engine.errors import EngineError
from leviathan_engine.model.hf_folder import end_tokens

# Work limits of one compilation and of one token's mask. These are llguidance's own limits; a mask of 10 ms needed a
# tenth of them. A millisecond is thousands of units.
LIMITS = {
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 50_000,
    "max_items_in_row": 2_000,
    "max_lexer_states": 50_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}


class Vocabulary:
    """The tokens of a Hugging Face folder; those in `ends` end a grammar. Reading them takes a second and 100 MB."""

    def __init__(self, folder: Path) -> None:
        """Reads `folder`/tokenizer.json. Errors: EngineError."""
        self._library = import_module("llguidance")
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = self._library.LLTokenizer(str(path), eos_token=list(end_tokens(folder)) or None)
        except Exception as err:  # the library raises Exception itself
            raise EngineError(f"cannot read {path}: {err}", "use a Hugging Face folder with a fast tokenizer") from err
        self.ends = tuple(self._tokenizer.eos_tokens)
        self._limits = self._library.LLParserLimits(**LIMITS)

    def matcher(self, grammar: str) -> Any:
        """Returns an `LLMatcher` at the beginning of `grammar`, in Lark or JSON; `is_error` is true if it is refused.

        Releases the interpreter lock while it compiles.
        """
        return self._library.LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)

    def special(self, text: str) -> int | None:
        """Returns the id of the special token with this text, None if the model does not have it."""
        ids = self._tokenizer.tokenize_str(text, parse_special=True)
        return int(ids[0]) if len(ids) == 1 and self._tokenizer.is_special_token(ids[0]) else None
