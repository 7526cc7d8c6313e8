"""Typed look-ups in a GGUF header's metadata, with a record of what had to be derived."""

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import Model, Value

ARCHITECTURE = "deepseek2"
CONVERT = "convert the model again with a current llama.cpp"


class Keys:
    """The keys of the architecture in one model's header. `notes` are sentences on what was derived, and from what."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.notes: list[str] = []
        self.where = str(model.parts[0].path)

    def find(self, *names: str) -> Value | None:
        """The first of the architecture's keys that is there."""
        for name in names:
            value = self.model.metadata.get(f"{ARCHITECTURE}.{name}")
            if value is not None:
                return value
        return None

    def whole(self, *names: str, derived: tuple[int | None, str] = (None, "")) -> int:
        """A whole number from one of the keys, or `derived` (value and where it comes from)."""
        value = self.find(*names)
        if isinstance(value, list) and value and len({str(v) for v in value}) == 1:
            value = value[0]  # per layer, the same in every layer
        if value is None:
            value = self._derive(names[0], derived)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise self._wrong(names[0], value, "a whole number")
        return value

    def real(self, *names: str, derived: tuple[float | None, str] = (None, "")) -> float:
        """A number from one of the keys, or `derived`."""
        value = self.find(*names)
        if value is None:
            value = self._derive(names[0], derived)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            raise self._wrong(names[0], value, "a number")
        return plain(value)

    def truth(self, name: str, derived: tuple[bool, str]) -> bool:
        """A truth value from the key, or `derived`."""
        value = self.find(name)
        if value is None:
            value = bool(self._derive(name, derived))
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def rows(self, suffix: str, axis: int) -> int | None:
        """Length of `axis` (ggml's order) of the first tensor with this suffix."""
        for tensor in self.model.tensors.values():
            if tensor.name.endswith(suffix) and len(tensor.shape) > axis:
                return tensor.shape[axis]
        return None

    def _derive(self, name: str, derived: tuple[int | float | None, str]) -> int | float:
        value, source = derived
        if value is None:
            raise GgufError(f"{self.where}: the key {ARCHITECTURE}.{name} is missing", CONVERT)
        self.notes.append(f"{ARCHITECTURE}.{name} is not in the file: {value} from {source}")
        return value

    def _wrong(self, name: str, value: object, wanted: str) -> GgufError:
        return GgufError(f"{self.where}: {ARCHITECTURE}.{name} is {str(value)[:60]!r}, not {wanted}", CONVERT)


def plain(value: float) -> float:
    """A 32-bit float as the decimal that was meant: 0.1 and not 0.10000000149."""
    return float(f"{value:.7g}")
