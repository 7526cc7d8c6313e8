"""The model's tokens as llguidance sees them, and the bounds within which it compiles a grammar for them."""

from importlib import import_module
from pathlib import Path
from typing import Any

from leviathan_engine.errors import EngineError
from leviathan_engine.model.hf_folder import end_tokens

# Work in one compilation and in one token's mask. llguidance's own bounds, of which a mask of 10 ms has been seen to
# need a tenth; its units are thousands a millisecond.
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
    """The tokens of a Hugging Face folder, of which `ends` end a grammar. Reading it takes a second and 100 MB."""

    def __init__(self, folder: Path) -> None:
        """Reads `folder`/tokenizer.json. Errors: EngineError."""
        self._library = import_module("llguidance")
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = self._library.LLTokenizer(str(path), eos_token=list(end_tokens(folder)) or None)
        except Exception as err:  # the library raises Exception itself
            raise EngineError(f"{path}: {err}", "give a folder with a fast tokenizer") from err
        self.ends = tuple(self._tokenizer.eos_tokens)
        self._limits = self._library.LLParserLimits(**LIMITS)

    def matcher(self, grammar: str) -> Any:
        """An `LLMatcher` at the beginning of `grammar`, a text in Lark or JSON; its `is_error` where it cannot be done.

        Other threads run meanwhile.
        """
        return self._library.LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)

    def special(self, text: str) -> int | None:
        """The id of the special token of this text; None where the model has none."""
        ids = self._tokenizer.tokenize_str(text, parse_special=True)
        return int(ids[0]) if len(ids) == 1 and self._tokenizer.is_special_token(ids[0]) else None
