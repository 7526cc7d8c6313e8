"""Typed look-ups in a GGUF header's metadata, with notes about values that had to be derived."""

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import Model, Value

ARCHITECTURE = "deepseek2"
CONVERT = "convert the model again with a current llama.cpp"


class Keys:
    """The architecture's keys in a model's header. `notes` are sentences that say what was derived, and from what."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.notes: list[str] = []
        self.where = str(model.parts[0].path)

    def find(self, *names: str) -> Value | None:
        """Returns the value of the first key in `names` that exists, None if none does."""
        for name in names:
            value = self.model.metadata.get(f"{ARCHITECTURE}.{name}")
            if value is not None:
                return value
        return None

    def whole(self, *names: str, derived: tuple[int | None, str] = (None, "")) -> int:
        """Returns an integer from one of the keys, or `derived` (value and its source). Errors: GgufError."""
        value = self.find(*names)
        if isinstance(value, list) and value and len({str(v) for v in value}) == 1:
            value = value[0]  # per layer, the same in every layer
        if value is None:
            value = self._derive(names[0], derived)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise self._wrong(names[0], value, "an integer")
        return value

    def real(self, *names: str, derived: tuple[float | None, str] = (None, "")) -> float:
        """Returns a number from one of the keys, or `derived`. Errors: GgufError."""
        value = self.find(*names)
        if value is None:
            value = self._derive(names[0], derived)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            raise self._wrong(names[0], value, "a number")
        return plain(value)

    def truth(self, name: str, derived: tuple[bool, str]) -> bool:
        """Returns a boolean from the key, or `derived`. Errors: GgufError."""
        value = self.find(name)
        if value is None:
            value = bool(self._derive(name, derived))
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def rows(self, suffix: str, axis: int) -> int | None:
        """Returns the length of `axis` (ggml's order) of the first tensor with this suffix."""
        for tensor in self.model.tensors.values():
            if tensor.name.endswith(suffix) and len(tensor.shape) > axis:
                return tensor.shape[axis]
        return None

    def _derive(self, name: str, derived: tuple[int | float | None, str]) -> int | float:
        value, source = derived
        if value is None:
            raise GgufError(f"{self.where}: the key {ARCHITECTURE}.{name} is missing", CONVERT)
        self.notes.append(f"{ARCHITECTURE}.{name} is not in the file: {value} is used, from {source}")
        return value

    def _wrong(self, name: str, value: object, wanted: str) -> GgufError:
        return GgufError(f"{self.where}: {ARCHITECTURE}.{name}: expected {wanted}, got {str(value)[:60]!r}", CONVERT)


def plain(value: float) -> float:
    """Returns the shortest decimal of a 32-bit float: 0.1 instead of 0.10000000149."""
    return float(f"{value:.7g}")
