"""The served model with its names, and the site's rules for model names and unknown fields."""

from dataclasses import dataclass

from leviathan_engine.wire import ServedModel

from .api_error import ApiError


@dataclass(frozen=True)
class Served:
    """The model, its `aliases`, and whether requests for `any_model` or with unknown fields are accepted."""

    model: ServedModel
    aliases: tuple[str, ...] = ()
    any_model: bool = False
    ignore_unknown: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The model's name, then its aliases."""
        return (self.model.name, *self.aliases)

    def resolve(self, name: str | None) -> str:
        """Returns the model name for the answer: the requested one. Errors: ApiError 404 for another model."""
        if name is None or name in self.names or self.any_model:
            return name or self.model.name
        others = "" if len(self.names) == 1 else f" (also as {', '.join(map(ascii, self.aliases))})"
        raise ApiError(
            404,
            f"the model {name[:100]!r} does not exist; this server serves {self.model.name!r}{others}",
            param="model",
            code="model_not_found",
        )
